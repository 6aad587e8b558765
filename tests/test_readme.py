"""The README's code does what the README says, and every `src/run.py` in it and in the documents composes."""

import re
import shlex

import pytest
from hydra.core.override_parser.overrides_parser import OverridesParser

from vlmatch import paths
from vlmatch.cli import arguments_for_hydra
from vlmatch.configs import composed

PAGES = ("README.md", "docs/*.md", "perf/README.md", "conf/recipe/*.yaml", "src/vlmatch/help.txt")


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
    """The arguments of every `src/run.py` in the documents: up to a comment, or the column beside it."""
    found = set()
    for page in sorted(path for pattern in PAGES for path in paths.root().glob(pattern)):
        text = re.sub(r"\\\n#?\s*", "", page.read_text(encoding="utf-8"))
        found |= {
            re.split(r"  | #", match)[0].strip() for match in re.findall(r"src/run\.py((?: [^`\n&]*)?)[`\n&]", text)
        }
    return sorted(command for command in found if "--" not in command and "[task=TASK]" not in command)


@pytest.mark.parametrize("command", documented())
def test_a_documented_command_composes(command: str) -> None:
    given = [each for each in arguments_for_hydra(shlex.split(command)) if each != "--multirun"]
    swept = [
        list(override.sweep_string_iterator())
        if override.is_sweep_override()
        else [override.get_value_element_as_str()]
        for override in OverridesParser.create().parse_overrides(given)
    ]
    keys = [each.partition("=")[0] for each in given]
    for turn in range(max(map(len, swept), default=1)):
        composed(*(f"{key}={values[turn % len(values)]}" for key, values in zip(keys, swept, strict=True)))
