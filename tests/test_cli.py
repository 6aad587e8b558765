"""The command line: the bare word, help, and one-line errors with exit code 2."""

import io
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
import yaml
from omegaconf import OmegaConf

from vlmatch import cli as cli_module
from vlmatch import paths
from vlmatch.cli import arguments_for_hydra, help_page, print_whatever_the_terminal_can, run_task
from vlmatch.configs import choices
from vlmatch.errors import VlmatchError

EMBED = ("task=embed", "task.side=encoder")
RUN = paths.root() / "src" / "run.py"


def lines(text: str) -> list[str]:
    return [line for line in text.splitlines() if line.startswith("vlmatch: ")]


@pytest.mark.parametrize("name", choices("task"))
def test_help_lists_every_task(name: str) -> None:
    assert f"task={name} " in help_page()


@pytest.mark.parametrize(
    ("given", "wanted"),
    [
        (["encoder=siglip", "multirun"], ["--multirun", "encoder=siglip"]),
        (["multirun", "encoder=a,b", "llm=x"], ["--multirun", "encoder=a,b", "llm=x"]),
        (["encoder=a", "-m", "llm=x"], ["--multirun", "encoder=a", "llm=x"]),
        (["encoder=a"], ["encoder=a"]),
        ([], []),
    ],
)
def test_the_bare_word_multirun_works_at_any_position(given: list[str], wanted: list[str]) -> None:
    assert arguments_for_hydra(given) == wanted


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["task=train", "recipe=lava15"], ("recipe='lava15'", "llava15")),
        (["task=train", "~recipe"], ("recipe=null", "llava15")),
        (["task=train", "recipe=null"], ("recipe=null", "~recipe")),
        (["pretrain=simclr_resnet_both"], ("'pretrain'", "task=")),
    ],
)
def test_a_group_that_has_no_such_name_or_is_not_used_is_one_line(cli, arguments: list[str], told: tuple[str, ...]):
    code, _, errors = cli(*arguments)
    assert code == 2
    (line,) = lines(errors)
    assert all(part in line for part in told)


def test_help_is_quick_because_nothing_heavy_is_imported_for_it() -> None:
    heavy = "torch torchvision sklearn scipy pandas matplotlib mlflow open_clip timm transformers onnx2torch "
    heavy += "pytorch_lightning hydra"
    script = (
        f"import sys; sys.argv = ['run.py', '--help']; sys.path.insert(0, {str(RUN.parent)!r})\n"
        "from vlmatch.cli import main\ntry:\n    main()\nexcept SystemExit:\n    pass\n"
        f"print('HEAVY', sorted(set({heavy.split()!r}) & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert "HEAVY []" in done.stdout
    for part in ["task=rank", "encoder: aimv2", "efficientnet_lite0", "python src/run.py encoder=", "Exit codes"]:
        assert part in done.stdout


@pytest.mark.parametrize(
    ("arguments", "parts"),
    [
        (["encoder=efficientnet_lite9"], ["encoder='efficientnet_lite9' is unknown", "efficientnet_lite0"]),
        (["encodr=siglip"], ["'encodr' is not a key", "did you mean encoder"]),
        (["probe.limmit=3"], ["'probe.limmit' is not a key", "did you mean probe.limit"]),
        (["trainer.batchsize=3"], ["'trainer.batchsize' is not a key", "did you mean trainer.batch_size"]),
        (["encoder=efficientnet_lite9,siglip", "multirun"], ["encoder='efficientnet_lite9' is unknown"]),
        (["experiment=embeded", "multirun"], ["experiment='embeded' is unknown", "did you mean embedded"]),
        (["encoder=a,b"], ["multirun"]),
        (["pool=shop"], ["pool='shop'", "'auto', 'store' or 'experiment'"]),
        (["trainer.batch_size='8'"], ["trainer.batch_size='8'", "a whole number"]),
        (["trainer.batch_size='8'", "multirun"], ["trainer.batch_size='8'", "a whole number"]),
        (["task=train", "~recipe.stages.0.clip"], ["recipe.stages.0.clip is missing", "a number"]),
        (["task=evaluate", "recipe.visual.cached=maybe"], ["recipe.visual.cached='maybe'", "true or false"]),
        (["task=train", "~recipe", "llm.dtype=float32"], ["recipe=null", "recipe=NAME"]),
        (["targets=mine."], ["targets='mine.'", "targets=[mine.]"]),
        (["task._target_=os.system"], ["_target_='os.system'", "targets=[os.]"]),
        (["probe=folder"], ["probe.path"]),
        (["probe=folder", "probe.path=/nowhere"], ["/nowhere"]),
    ],
)
def test_a_typo_is_one_line_that_names_the_nearest_valid_one(cli, arguments: list[str], parts: list[str]) -> None:
    code, _, stderr = cli(*arguments)
    assert code == 2
    (line,) = lines(stderr)
    assert stderr.strip() == line
    for part in parts:
        assert part in line
    assert "Traceback" not in stderr


def test_a_terminal_without_unicode_shows_question_marks(monkeypatch: pytest.MonkeyPatch) -> None:
    shown = io.BytesIO()
    monkeypatch.setattr("sys.stdout", io.TextIOWrapper(shown, encoding="ascii"))
    print_whatever_the_terminal_can()
    print("MutualNN \u2191 .27 \u00b1 .03 \ud83d", flush=True)
    assert shown.getvalue() == b"MutualNN ? .27 ? .03 ?\n"


@pytest.mark.parametrize(
    ("override", "part"),
    [
        ("probe.name=../../evil", "probe.name='../../evil'"),
        ("probe.name='=1+1'", "probe.name='=1+1'"),
        ("llm.name=../evil", "llm.name='../evil'"),
        ("encoder.name='@x'", "encoder.name='@x'"),
        (f"encoder.name={'x' * 300}", "at most 200 bytes"),
        (f"llm.name={'x' * 300}", "at most 200 bytes"),
        (f"probe.name={'x' * 300}", "at most 200 bytes"),
        ("encoder.feature=../../../evil", "encoder.feature='../../../evil'"),
        ("llm.pooling=../../../evil", "llm.pooling='../../../evil'"),
        ("tracking.experiment=''", "tracking.experiment=''"),
        (f"tracking.experiment={'x' * 300}", "tracking.experiment="),
        ("outputs=", "outputs=''; wanted a path"),
    ],
)
def test_a_name_that_becomes_a_path_a_tag_or_a_cell_is_checked_before_any_work(
    cli, tmp_path: Path, override: str, part: str
) -> None:
    code, stdout, stderr = cli("encoder=pixels16", "probe.limit=40", override)
    assert code == 2
    (line,) = lines(stderr)
    assert part in line
    assert "embedding" not in stdout
    assert not (tmp_path / "store").exists()


def test_debug_shows_the_traceback(cli) -> None:
    with pytest.raises(Exception, match="limmit"):
        cli("probe.limmit=3", "--debug")


ATTACKS = (
    "vlmatch.packages.archives.write_files",
    "vlmatch.packages.npm.unpack_tarball",
    "vlmatch.probes.deb.write_members",  # where such a function once was
)


@pytest.mark.parametrize("target", ATTACKS)
@pytest.mark.parametrize("arguments", [["encoder=pixels16"], ["multirun"], ["task=fetch"]])
def test_a_yaml_that_names_a_function_which_writes_files_is_refused_by_name(
    cli, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, target: str, arguments: list[str]
) -> None:
    (tmp_path / "conf" / "probe").mkdir(parents=True)
    (tmp_path / "home").mkdir()
    place = {"_target_": "vlmatch.encoders.weights.local_path", "name": "x", "checkpoint": str(tmp_path / "home")}
    bashrc = {".bashrc": b"echo here"}
    evil = {"_target_": target, "members": bashrc, "files": bashrc, "destination": place, "folder": place}
    described = {"name": "evil", "path": str(tmp_path), **evil, "archive": evil}
    (tmp_path / "conf" / "probe" / "evil.yaml").write_text(yaml.safe_dump(described))
    monkeypatch.setenv(paths.CONF, str(tmp_path / "conf"))
    code, _, stderr = cli("probe=evil", *arguments)
    (line,) = lines(stderr)
    assert code == 2
    assert f"_target_='{target}'" in line
    assert not list((tmp_path / "home").iterdir())


@pytest.mark.parametrize("cause", [KeyboardInterrupt, None])
def test_an_interrupt_that_lightning_made_an_exit_of_is_told(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], cause: type[BaseException] | None
) -> None:
    def interrupted() -> None:
        try:
            raise (cause or ValueError)
        except (KeyboardInterrupt, ValueError):
            sys.exit(1)

    monkeypatch.setattr(cli_module, "_application", lambda: interrupted)
    with pytest.raises(SystemExit) as left:
        cli_module.main([])
    assert left.value.code == (130 if cause else 1)
    assert ("the same command goes on from there" in capsys.readouterr().err) is bool(cause)


def test_called_as_a_function_it_leaves_the_process_as_it_was(monkeypatch: pytest.MonkeyPatch) -> None:
    before = list(sys.argv), dict(os.environ), signal.getsignal(signal.SIGTERM)
    seen: list[list[str]] = []

    def application() -> None:
        seen.append(sys.argv[1:])
        os.environ["VLMATCH_PARENT_RUN"] = "abc"

    monkeypatch.setattr(cli_module, "_application", lambda: application)
    cli_module.main(["task=check", "--debug"])
    assert seen == [["task=check"]]
    assert (sys.argv, dict(os.environ), signal.getsignal(signal.SIGTERM)) == before


def test_a_job_of_submitits_ends_at_sigterm(monkeypatch: pytest.MonkeyPatch) -> None:
    """Submitit's own handler ignores it, so that `scancel` would wait, and then kill before any run is closed."""
    monkeypatch.setenv("SUBMITIT_EXECUTOR", "slurm")
    before = signal.signal(signal.SIGTERM, signal.SIG_IGN)
    try:
        with pytest.raises(VlmatchError, match="nothing"):
            run_task(OmegaConf.create({"targets": [], "task": {"_target_": "vlmatch.tasks.nothing.nothing"}}))
        with pytest.raises(SystemExit) as left:
            signal.raise_signal(signal.SIGTERM)
        assert left.value.code == 143
    finally:
        signal.signal(signal.SIGTERM, before)
