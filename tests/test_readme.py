"""The README's code does what the README says, and every `src/run.py` in it and in the documents composes."""

import re
import shlex
from pathlib import Path

import pytest
from hydra.core.override_parser.overrides_parser import OverridesParser
from omegaconf import OmegaConf

from vlmatch import paths
from vlmatch.cli import arguments_for_hydra
from vlmatch.configs import composed
from vlmatch.objects import task_named
from vlmatch.settings.command import settings_for

PAGES = (
    *("README.md", "CONTRIBUTING.md", "docs/*.md", "perf/README.md", "src/vlmatch/help.txt"),
    *("study/*.md", "study/*/README.md", "conf/recipe/*.yaml", "study/conf/recipe/*.yaml"),
)
OF_EXTRAS = re.compile(r"hydra/launcher=(?!joblib)|hydra\.launcher\.(?!n_jobs)")
"""Overrides of launchers that only an extra installs, whose configs Hydra would not find."""
OF_VERSION_0_1 = Path(__file__).with_name("commands_0_1.txt")


def first_example(page: str) -> str:
    return re.findall(r"```python\n(.*?)```", (paths.root() / page).read_text(encoding="utf-8"), flags=re.DOTALL)[0]


def test_the_solvers_example_recovers_a_shuffled_rotation(capsys: pytest.CaptureFixture[str]) -> None:
    code = first_example("docs/gromov.md")
    assert len(code.replace("\n\n", "\n").strip().splitlines()) <= 10
    names: dict[str, object] = {}
    exec(compile(code, "docs/gromov.md", "exec"), names)
    found, other = names["found"], names["other"]
    assert found.energy == 0  # type: ignore[attr-defined]
    assert (found.coupling.permutation == names["shuffle"]).all()  # type: ignore[attr-defined]
    assert 0 < other.lower_bound <= other.distance  # type: ignore[attr-defined]
    assert other.coupling.dense().shape == (300, 200)  # type: ignore[attr-defined]
    assert capsys.readouterr().out.count("\n") == 2


def documented() -> list[str]:
    """The arguments of every `src/run.py` in the documents: up to a comment, or the column beside it.

    Commands with a name to fill in, and those with files that the page has its reader write, are left out.
    """
    found = set()
    for page in sorted(path for pattern in PAGES for path in paths.root().glob(pattern)):
        text = re.sub(r"\\\n#?\s*", "", page.read_text(encoding="utf-8"))
        found |= {
            re.split(r"  | #", match)[0].strip() for match in re.findall(r"src/run\.py((?: [^`\n&]*)?)[`\n&]", text)
        }
    return sorted(command for command in found if not re.search("--|NAME|TASK|my_scores", command))


def of_version_0_1() -> list[str]:
    """The arguments of every command in the README of version 0.1."""
    return [line for line in OF_VERSION_0_1.read_text(encoding="utf-8").splitlines() if line and line[0] != "#"]


@pytest.mark.parametrize("command", sorted({*documented(), *of_version_0_1()}))
def test_a_documented_command_composes_with_the_values_that_it_gives(
    command: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("USER", "PASSWORD"):
        monkeypatch.setenv(name, "something")
    overrides = OverridesParser.create().parse_overrides(
        [
            each
            for each in arguments_for_hydra(shlex.split(command))
            if each != "--multirun" and not OF_EXTRAS.match(each)
        ]
    )
    axes = [
        list(each.sweep_string_iterator()) if each.is_sweep_override() else [each.get_value_element_as_str()]
        for each in overrides
    ]
    for job in range(max(map(len, axes), default=1)):
        values = [axis[job % len(axis)] for axis in axes]
        keys = [str(each.input_line).partition("=")[0] for each in overrides]
        config = composed(*map("=".join, zip(keys, values, strict=True)))
        for override, value in zip(overrides, values, strict=True):
            group, dot, key = override.key_or_group.rpartition(".")
            if dot and not group.startswith("hydra"):
                found = OmegaConf.to_container(OmegaConf.select(config, group))[key]
                assert str(found) == value if override.is_sweep_override() else found == override.value()
        settings_for(task_named(config.task._target_), config).require("encoder", "llm", "probe", "recipe")


def test_make_keeps_the_targets_of_version_0_1() -> None:
    rules = re.findall(r"^([a-z-]+):", (paths.root() / "Makefile").read_text(encoding="utf-8"), flags=re.MULTILINE)
    assert {"setup", "run", "test", "train", "collect", "test-lmms", "lint", "ui", "report", "clean"} <= set(rules)
