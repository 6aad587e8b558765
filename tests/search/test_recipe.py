"""`task=search` by our own recipe: a race of real trainings that is killed on the way."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

import made_vlms
from vlm.made_tasks import trained_elsewhere
from vlmatch import results
from vlmatch.cli import run_task
from vlmatch.configs import composed
from vlmatch.errors import VlmatchError
from vlmatch.objects import admitted
from vlmatch.settings.command import Settings
from vlmatch.settings.search import SearchSettings
from vlmatch.settings.tasks import TrainTask
from vlmatch.tasks.search_recipe import ByRecipe
from vlmatch.vlm.runs import Run
from vlmatch.vlm.stage import Stage


def command(home: Path, task: str, *overrides: str) -> None:
    """Run a task in which everything is small and lies below `home`."""
    given = [
        f"task={task}", "llm.name=tiny", f"llm.repository={home / 'llm'}", f"store={home / 'store'}",
        f"outputs={home}", f"tracking.folder={home / 'mlruns'}", f"task.runs={home / 'runs'}", "~split",
        f"+split={{_target_: vlm.made_split.made_split, folder: {home / 'drawn'}}}",
        "benchmark.group=3", "benchmark.hard_group=2", "benchmark.course=0.5", "~benchmark.sources",
        "+benchmark.sources={made: {items: 24, of_category: 12}}", "recipe.stages.0.steps=16",
        "recipe.stages.0.batch_size=4", "recipe.llm_dtype=float32", *overrides,
    ]  # fmt: skip
    with admitted("vlm.made_split"):
        run_task(composed(*given))


@pytest.mark.slow
def test_a_race_of_trainings_that_was_killed_ends_as_one_that_was_not(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    made_vlms.tiny_llm(tmp_path / "llm")
    (tmp_path / "drawn").mkdir()
    race = ("search.encoders=[pixels16,mean_colour]", "search.keep=0.5", "search.runs=2", "answer.truth=2")
    step, seen = Stage.training_step, 0

    def dying(self: Stage, *batch: object) -> object:
        nonlocal seen
        seen += 1
        if seen == 12:  # in the third part
            raise KeyboardInterrupt
        return step(self, *batch)

    with monkeypatch.context() as patched:
        patched.setattr(Stage, "training_step", dying)
        with pytest.raises((KeyboardInterrupt, SystemExit)):
            command(tmp_path, "search", *race)
    command(tmp_path, "search", *race)
    (folder,) = (tmp_path / "search").iterdir()
    parts = json.loads((folder / "ledger.json").read_text())["parts"]
    winner = parts[-1]["encoder"]
    assert [(part["rung"], part["steps"]) for part in parts] == [(0, 2), (0, 2), (3, 16)]
    assert sum(part["cost"] for part in parts) == 1.125
    assert f"answer: {winner}" in capsys.readouterr().out
    group = Path("runs", "embedded", "tiny-vlm_a")
    loser = ({"pixels16", "mean_colour"} - {winner}).pop()
    assert not (tmp_path / group / f"{loser}-0" / "result.json").exists()
    raced = results.read_file(tmp_path / group / f"{winner}-0" / "result.json")
    command(tmp_path, "train", f"encoder={winner}", "task.blind=null", f"task.runs={tmp_path}/whole/runs")
    whole = results.read_file(tmp_path / "whole" / group / f"{winner}-0" / "result.json")
    assert (raced.milestones, raced.benchmarks) == (whole.milestones, whole.benchmarks)
    values = [part["value"] for part in parts if part["encoder"] == winner]
    assert values == pytest.approx([whole.milestones[0].mean, whole.milestones[-1].mean], abs=1e-5)


def test_a_search_in_another_precision_is_another_search_and_earlier_ones_keep_their_names() -> None:
    def about(precision: str) -> Mapping[str, Any]:
        made = composed("task=search", "search.encoders=[pixels16]", "search.runs=2", f"trainer.precision={precision}")
        return ByRecipe.of(SearchSettings.read(made)).about

    assert about("bf16-mixed") == {**about("32-true"), "precision": "bf16-mixed"}
    assert "precision" not in about("32-true")


def test_a_search_waits_for_a_job_that_trains_the_same_run_and_takes_its_result(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    made_vlms.tiny_llm(tmp_path / "llm")
    (tmp_path / "drawn").mkdir()
    command(tmp_path, "train", "encoder=mean_colour", "task.blind=null")
    (folder,) = (tmp_path / "runs").rglob("mean_colour-0")
    settings = Settings[TrainTask].read(composed("task=train", "encoder=mean_colour", "llm.name=tiny"))
    run, elsewhere = Run(settings.encoder, settings.llm, settings.recipe), tmp_path / "elsewhere"
    race = ("search.encoders=[mean_colour]", "search.rungs=[0.5,1]", "search.runs=1", f"task.runs={elsewhere}")
    with trained_elsewhere(run, elsewhere, folder, monkeypatch), monkeypatch.context() as patched:
        patched.setattr(Stage, "training_step", None)
        command(tmp_path, "search", *race)
    told = capsys.readouterr().out
    assert f"waiting for another process, which is training {run.name}; " in told
    assert "answer: mean_colour" in told


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("search.rungs=[0.1,1]", r"search\.rungs=\[0\.1, 1\]; a recipe is only measured at"),
        (
            "~recipe.prompts.caption ~recipe.prompts.category",
            r"recipe=embedded has no recipe\.prompts.*search\.command",
        ),
        ("search.encoders=[mobilenet]", r"encoder='mobilenet' is unknown; did you mean mobilenetv2"),
        ("search.encoders=null probe=folder probe.path={home}/pairs", r"holds no embeddings"),
    ],
)
def test_a_recipe_that_cannot_be_raced_is_one_line(tmp_path: Path, override: str, message: str) -> None:
    (tmp_path / "drawn").mkdir()
    pairs_in(tmp_path / "pairs", 2)
    given = override.format(home=tmp_path).split()
    with pytest.raises(VlmatchError, match=message):
        command(tmp_path, "search", "search.runs=2", "search.encoders=[pixels16]", *given)


def test_a_screened_encoder_without_a_yaml_is_refused_before_anything_is_trained(tmp_path: Path) -> None:
    made_vlms.tiny_llm(tmp_path / "llm")
    (tmp_path / "drawn").mkdir()
    pairs_in(tmp_path / "pairs", 24)
    probe = ("probe=folder", f"probe.path={tmp_path}/pairs")
    own = ("encoder=precomputed", f"encoder.path={tmp_path}/mine.npy", "encoder.name=mine")
    np.save(tmp_path / "mine.npy", np.random.default_rng(0).normal(size=(24, 5)).astype(np.float32))
    llm = ("llm.name=tiny", f"llm.repository={tmp_path}/llm", f"store={tmp_path}/store")
    for side in ("encoder", "llm"):
        run_task(composed("task=embed", f"task.side={side}", *probe, *own, *llm))
    with pytest.raises(VlmatchError, match="encoder='mine' is unknown"):
        command(tmp_path, "search", "search.runs=2", "search.arms=1", "pool=store", *probe)
    assert not list(tmp_path.rglob("ledger.json"))


def pairs_in(folder: Path, n: int) -> None:
    """Write a probe of n pictures of one colour each."""
    folder.mkdir()
    colours = np.random.default_rng(0).integers(0, 256, size=(n, 3))
    for number, colour in enumerate(colours):
        Image.new("RGB", (32, 32), tuple(colour.tolist())).save(folder / f"{number}.png")
    lines = [f"{number}.png,colour {' '.join(map(str, colour))}" for number, colour in enumerate(colours)]
    (folder / "captions.csv").write_text("\n".join(["image,caption", *lines]))
