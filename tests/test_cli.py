"""The command line: the bare word, help, and one-line errors with exit code 2."""

import io
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import yaml
from omegaconf import OmegaConf
from PIL import Image

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


def test_a_store_that_can_not_be_written_is_told_with_the_setting_that_names_another(
    cli, tmp_path: Path, picture_folder: Path
) -> None:
    (tmp_path / "store").touch()
    code, _, stderr = cli("probe=folder", f"probe.path={picture_folder}", "encoder=pixels16", *EMBED)
    assert code == 2
    (line,) = lines(stderr)
    assert "a file stands where a folder is needed" in line
    assert "store=FOLDER" in line


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


PNG_OF_300_MEGAPIXELS = (
    bytes.fromhex("89504e470d0a1a0a0000000d49484452")
    + (20000).to_bytes(4)
    + (15000).to_bytes(4)
    + bytes([8, 2, 0, 0, 0])
)


def captions(text: str):
    return lambda folder: (folder / "captions.csv").write_text(text)


@pytest.mark.parametrize(
    ("break_it", "part"),
    [
        (lambda folder: (folder / "red_ellipse.png").unlink(), "red_ellipse.png"),
        (lambda folder: (folder / "red_ellipse.png").write_bytes(b"no image"), "red_ellipse.png"),
        (
            captions("image,caption\nred_ellipse.png,\nblue_ellipse.png,Blue.\n"),
            "the caption of 'red_ellipse.png' is empty",
        ),
        (captions("image,caption\nred_ellipse.png,A red one.\n"), "1 pair left"),
        (captions("id,image,caption\n1,red_ellipse.png,Red.\n1,blue_ellipse.png,Blue.\n"), "id '1' appears twice"),
    ],
)
def test_a_bad_probe_is_one_line(cli, picture_folder: Path, break_it, part: str) -> None:
    break_it(picture_folder)
    code, _, stderr = cli("probe=folder", f"probe.path={picture_folder}", "encoder=pixels16", *EMBED)
    assert code == 2
    (line,) = lines(stderr)
    assert part in line


def test_a_300_megapixel_image_is_refused_before_it_is_decoded(cli, picture_folder: Path) -> None:
    import zlib

    header = PNG_OF_300_MEGAPIXELS[8 + 4 :]
    crc = zlib.crc32(header).to_bytes(4)
    (picture_folder / "red_ellipse.png").write_bytes(PNG_OF_300_MEGAPIXELS + crc)
    code, _, stderr = cli("probe=folder", f"probe.path={picture_folder}", "encoder=pixels16", *EMBED)
    assert code == 2
    (line,) = lines(stderr)
    assert "red_ellipse.png" in line
    assert "20000" in line or "300" in line


def test_identical_pictures_are_refused_as_a_constant_geometry(cli, picture_folder: Path) -> None:
    for number, path in enumerate(sorted(picture_folder.glob("*.png"))):
        Image.new("RGB", (40, 32), "white").save(path, pnginfo=_note(number))
    code, _, stderr = cli("probe=folder", f"probe.path={picture_folder}", "encoder=mean_colour", "llm=smollm2")
    assert code == 2
    (line,) = lines(stderr)
    assert "constant" in line


def _note(number: int):
    from PIL.PngImagePlugin import PngInfo

    note = PngInfo()
    note.add_text("number", str(number))  # other bytes, same picture: not dropped as a repeated image
    return note


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


def test_a_store_that_cannot_be_written_is_one_line(cli, picture_folder: Path, tmp_path: Path) -> None:
    (tmp_path / "store").write_text("a file, not a folder")
    code, _, stderr = cli("probe=folder", f"probe.path={picture_folder}", "encoder=pixels16", *EMBED)
    assert code == 2
    assert len(lines(stderr)) == 1


ROWS = np.arange(24, dtype=np.float32).reshape(12, 2)


@pytest.mark.parametrize(
    ("rows", "parts"),
    [
        (ROWS[1:], ["11 rows", "12 pairs"]),
        (ROWS[0], ["(2,)"]),
        (np.where(ROWS == 3, np.nan, ROWS), ["NaN", "red_rectangle.png"]),
        (ROWS.astype(object), ["mine.npy"]),
    ],
)
def test_embeddings_from_elsewhere_that_do_not_fit_are_one_line(
    cli, picture_folder: Path, tmp_path: Path, rows: np.ndarray, parts: list[str]
) -> None:
    np.save(tmp_path / "mine.npy", rows, allow_pickle=True)
    given = ("encoder=precomputed", f"encoder.path={tmp_path}/mine.npy")
    code, _, stderr = cli("probe=folder", f"probe.path={picture_folder}", *given, *EMBED)
    assert code == 2
    (line,) = lines(stderr)
    assert all(part in line for part in ("encoder 'mine'", *parts))


def test_embeddings_from_elsewhere_are_stored_under_their_files_name(cli, picture_folder: Path, tmp_path: Path) -> None:
    np.save(tmp_path / "mine.npy", ROWS)
    given = ("encoder=precomputed", f"encoder.path={tmp_path}/mine.npy")
    code, out, _ = cli("probe=folder", f"probe.path={picture_folder}", *given, *EMBED)
    assert code == 0
    assert "encoder 'mine': 12 x 2" in out
    code, _, stderr = cli("encoder=precomputed", *EMBED)
    assert code == 2
    assert "encoder.path" in lines(stderr)[0]


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
