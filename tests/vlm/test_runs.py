"""A run is recognised by the settings that decide its training, also under earlier names of classes and folders."""

import json
import signal
import subprocess
import sys
from functools import cache
from pathlib import Path
from typing import Any

import pytest

import made_vlms
from vlmatch import paths, results
from vlmatch.configs import composed
from vlmatch.errors import VlmatchError
from vlmatch.settings.command import Settings
from vlmatch.settings.recipe import RecipeSettings
from vlmatch.settings.tasks import TaskSettings
from vlmatch.vlm.building import build_vlm, feature_shape
from vlmatch.vlm.runs import Run, precision_of
from vlmatch.vlm.saved import DESCRIPTION, Description, load_vlm, save_vlm

FIRST_NAME = "vlmatch.encoders.trained_here.TrainedConvnet"
TODAYS_NAME = "vlmatch_study.trained_convnet.TrainedConvnet"


def test_a_run_continues_only_under_its_own_settings(tmp_path: Path) -> None:
    def made(**changes):
        return Run(made_vlms.encoder(), made_vlms.llm(), made_vlms.recipe(**changes))

    folder = made().claim(tmp_path)
    assert folder == tmp_path / "tiny" / "l-made" / "e-0"
    assert made().claim(tmp_path) == folder
    assert made(seed=1).claim(tmp_path) != folder
    for name in ("e-0", "e-1", "e-big-0"):  # of an encoder 'e-big' too
        (folder.parent / name).mkdir(exist_ok=True)
        (folder.parent / name / "result.json").touch()
    assert [path.parent.name for path in made().results_of_all_seeds(tmp_path)] == ["e-0", "e-1"]
    assert made(version=3).claim(tmp_path) == folder, "nothing has been trained there yet"
    assert made().claim(tmp_path) == folder
    (folder / "vlm").mkdir()
    with pytest.raises(VlmatchError, match=r"recipe\.version=1 instead of 2"):
        made(version=2).claim(tmp_path)


def test_a_damaged_run_json_is_told_and_removing_it_helps(tmp_path: Path) -> None:
    run = Run(made_vlms.encoder(), made_vlms.llm(), made_vlms.recipe())
    file = run.claim(tmp_path) / "run.json"
    for damage in ("", "{", "[]", "{}"):
        file.write_text(damage)
        with pytest.raises(VlmatchError, match=rf"^'{file}' is damaged \(.*\); remove it"):
            run.claim(tmp_path)
    file.unlink()
    assert run.claim(tmp_path) == file.parent


def in_precision(precision: str | None) -> Run:
    return Run(made_vlms.encoder(), made_vlms.llm(), made_vlms.recipe(), precision)


def test_a_run_continues_only_in_its_own_precision(tmp_path: Path) -> None:
    folder = in_precision(None).claim(tmp_path)  # by a task that does not train
    assert in_precision("bf16-mixed").claim(tmp_path) == folder
    (folder / "vlm").mkdir()
    assert in_precision("bf16-mixed").claim(tmp_path) == folder
    with pytest.raises(VlmatchError, match=r'trainer\.precision="bf16-mixed" instead of "32-true"'):
        in_precision("32-true").claim(tmp_path)
    assert in_precision(None).claim(tmp_path) == folder
    assert precision_of(folder) == "bf16-mixed"


def test_a_run_stored_without_its_precision_continues_and_stays_without(tmp_path: Path) -> None:
    folder = in_precision(None).claim(tmp_path)
    (folder / "vlm").mkdir()
    assert "trainer" not in json.loads((folder / "run.json").read_text())
    for precision in ("bf16-mixed", "32-true"):
        assert in_precision(precision).claim(tmp_path) == folder
        assert precision_of(folder) is None


def holder(run: Run, runs: Path) -> subprocess.Popen[str]:
    """Another process that holds the folder of a run."""
    with run.held(runs):
        pass
    (lock,) = runs.rglob(".*.lock")
    code = "import filelock, sys\nwith filelock.FileLock(sys.argv[1]): print('held', flush=True), input()"
    process = subprocess.Popen(
        [sys.executable, "-c", code, str(lock)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "held\n"
    return process


def test_a_killed_process_holds_its_run_no_longer(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run = in_precision("32-true")
    process = holder(run, tmp_path)
    monkeypatch.setenv("LOCAL_RANK", "0")  # of a job whose other processes would not wait
    with pytest.raises(VlmatchError, match=r"is training tiny/l-made/e-0 .* start this job again"), run.held(tmp_path):
        pass
    monkeypatch.setenv("RANK", "1")
    with run.held(tmp_path) as folder:
        assert folder == tmp_path / run.name, "rank 0 holds it for all"
    monkeypatch.delenv("RANK")
    process.send_signal(signal.SIGKILL)
    process.wait()
    with run.held(tmp_path) as folder:
        assert folder == tmp_path / run.name


def before(encoder: dict[str, Any]) -> dict[str, Any]:
    """The settings of an encoder trained here, as they were stored before its class and its weights moved."""
    text = json.dumps(encoder).replace(TODAYS_NAME, FIRST_NAME).replace("study/weights/", "weights/")
    assert FIRST_NAME in text
    return dict(json.loads(text))


def test_a_run_stored_before_a_class_moved_is_the_same_run(tmp_path: Path) -> None:
    settings = Settings[TaskSettings].read(composed("encoder=simclr_resnet_both", "llm=smollm2-135m"))
    encoder, llm = settings.encoder, settings.llm
    run = Run(encoder, llm, made_vlms.recipe())
    folder = run.claim(tmp_path)
    (folder / "vlm").mkdir()
    older_llm = {key: value for key, value in llm.plain().items() if key != "max_tokens"}
    stored = {"fingerprint": "of another rule", **run.about, "encoder": before(encoder.plain()), "llm": older_llm}
    (folder / "run.json").write_text(json.dumps(stored))
    assert run.claim(tmp_path) == folder
    other = Run(encoder.changed(sha256="other"), llm, made_vlms.recipe())
    with pytest.raises(VlmatchError, match=r"encoder\.sha256"):
        other.claim(tmp_path)


def test_settings_that_change_no_training_are_ignored(tmp_path: Path) -> None:
    def run(**llm: Any) -> Run:
        return Run(made_vlms.encoder(licence=llm.get("licence")), made_vlms.llm(**llm), made_vlms.recipe())

    folder = run(layer=-2).claim(tmp_path)
    (folder / "vlm").mkdir()
    assert run(layer=-1, pooling="mean", licence={"name": "MIT"}).claim(tmp_path) == folder
    with pytest.raises(VlmatchError, match=r"llm\.dtype"):
        run(dtype="bfloat16").claim(tmp_path)


def test_facts_about_an_encoder_or_its_parts_may_be_stated_later(tmp_path: Path) -> None:
    def run(part: Any = None, **facts: Any) -> Run:
        parts = [{"_target_": "x", "name": "part", **(part or {})}]
        return Run(made_vlms.encoder(parts=parts, **facts), made_vlms.llm(), made_vlms.recipe())

    folder = run().claim(tmp_path)
    (folder / "vlm").mkdir()
    facts = {"licence": {"name": "MIT"}, "control": False, "language_supervised": True, "tokens": 576}
    assert run(**facts).claim(tmp_path) == folder
    assert run(part=facts).claim(tmp_path) == folder
    with pytest.raises(VlmatchError, match=r"encoder\.parts\.0\.layer"):
        run(part={"layer": 3}).claim(tmp_path)


def test_a_layer_is_not_trained_under_the_name_of_its_encoder(tmp_path: Path) -> None:
    def run(**encoder: Any) -> Run:
        return Run(made_vlms.encoder(**encoder), made_vlms.llm(), made_vlms.recipe())

    with pytest.raises(VlmatchError, match=r"encoder.layer=-2: .*encoder.name=mobilenetv2_layer-2"):
        run(name="mobilenetv2", layer=-2).claim(tmp_path)
    run(name="mobilenetv2_layer-2", layer=-2).claim(tmp_path)
    run(name="mobilenetv2", layer=None).claim(tmp_path)
    run(name="imgfocus_dinov2_s_layer9", layer=9).claim(tmp_path)  # its yaml's own layer
    with pytest.raises(VlmatchError, match=r"encoder.layer=8: "):
        run(name="imgfocus_dinov2_s_layer9", layer=8).claim(tmp_path)


def test_a_vlm_stored_before_its_encoders_class_moved_loads(tmp_path: Path) -> None:
    described = Settings[TaskSettings].read(composed("encoder=simclr_resnet_both")).encoder
    projector = {"kind": "linear", "tokens": 1}
    recipe = made_vlms.recipe(visual={"what": "feature", "cached": False}, projector=projector)
    llm, encoder = made_vlms.tiny_llm(tmp_path / "llm"), described.build()
    vlm = build_vlm(recipe, llm, encoder, shape := feature_shape(encoder, "feature"))
    about = Description(format=1, encoder=described, llm=made_vlms.llm(), recipe=recipe, shape=list(shape))
    save_vlm(vlm, tmp_path / "vlm", about)
    description = json.loads((tmp_path / "vlm" / DESCRIPTION).read_text())
    description["encoder"]["_target_"] = FIRST_NAME
    (tmp_path / "vlm" / DESCRIPTION).write_text(json.dumps(description))
    again = load_vlm(tmp_path / "vlm", llm=llm)
    assert type(again.visual.encoder) is type(encoder)
    assert all((again.projector.state_dict()[key] == value).all() for key, value in vlm.projector.state_dict().items())


@cache
def recipe_of(data: str, seed: int) -> RecipeSettings:
    composed_recipe = composed("recipe=embedded", f"recipe.data={data}", f"recipe.seed={seed}")
    return Settings[TaskSettings].read(composed_recipe).recipe


def test_todays_recipe_has_the_fingerprint_of_the_results() -> None:
    """Results are only compared within one recipe, so its fingerprint must not change."""
    found = results.read(paths.results())
    assert len(found) >= 72
    for result in found:
        run = Run(
            made_vlms.encoder(name=result.encoder), made_vlms.llm(name=result.llm), recipe_of(result.data, result.seed)
        )
        assert run.recipe.fixed() == result.config, result.run
        assert run.recipe_fingerprint == result.recipe.fingerprint, result.run
