"""`task=train`, `task=evaluate` and `task=collect` from a config to a result, with a tiny LLM."""

import base64
import errno
import json
import shutil
import zlib
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from mlflow import MlflowClient

from vlm.made_tasks import config, trained_elsewhere
from vlmatch import results
from vlmatch.benchmarks.measurement import Measurement
from vlmatch.benchmarks.suite import BenchmarkSuite
from vlmatch.cli import run_task
from vlmatch.errors import VlmatchError
from vlmatch.evidence.definitions import definition_of
from vlmatch.evidence.likelihoods import Likelihoods
from vlmatch.objects import build, plain
from vlmatch.settings.command import Settings
from vlmatch.settings.tasks import TrainTask
from vlmatch.tasks import evaluate
from vlmatch.vlm.model import VLM
from vlmatch.vlm.runs import Run
from vlmatch.vlm.stage import Stage


@pytest.fixture(scope="module")
def trained(home: Path) -> Path:
    """Two trained seeds, and one blind model."""
    for seed in (0, 1):
        run_task(config(home, "train", f"recipe.seed={seed}"))
    return home


GROUP = Path("embedded", "tiny-vlm_a")


def test_a_training_ends_in_a_result_beside_its_blind_model(trained: Path) -> None:
    found = {path.parent.name: results.read_file(path) for path in (trained / "runs" / GROUP).glob("*/result.json")}
    assert found.keys() == {"pixels16-0", "pixels16-1", "blind-0"}
    seeing = found["pixels16-0"]
    assert seeing.control
    assert seeing.visual.dimension == 768
    assert seeing.visual.tokens == 2
    assert [milestone.step for milestone in seeing.milestones] == [2, 4, 8, 16]
    assert seeing.milestones[-1].mean == seeing.mean.score
    assert seeing.steps == 16
    assert seeing.libraries["torch"]
    assert "drawn" not in json.dumps(seeing.config)  # no place on this machine
    blind = found["blind-0"]
    assert blind.mean.score == pytest.approx(0, abs=1e-4)
    assert blind.benchmarks["caption_choice"].score == pytest.approx(1 / 3, abs=1e-4)


def test_scores_follow_from_the_stored_likelihoods(trained: Path, tmp_path: Path) -> None:
    made = config(trained, "evaluate", "encoder=pixels16")
    suite, split = (build(plain(part)) for part in (made.benchmark, made.split))
    items = suite.items(split)
    plan = suite.plan(items, sorted({item.category for item in split.share("vlm_a") if item.category}))
    folder = trained / "runs" / GROUP / "pixels16-0"
    with np.load(folder / "likelihoods.npz") as kept:
        captions, categories = (kept[name].astype(float) for name in ("captions", "categories"))
    again = suite.scored(items, plan, captions, np.ones(len(items)), categories)
    result = results.read_file(folder / "result.json")
    assert again.mean.score == pytest.approx(result.mean.score, abs=1e-4)
    kept_beside = results.write(tmp_path, result)
    shutil.copy(folder / "likelihoods.npz", kept_beside.with_suffix(".npz"))
    weights = definition_of(result, 2).weights(result)
    influence = Likelihoods((tmp_path,)).influence(result, weights)
    assert influence.standard_error == pytest.approx(result.mean.standard_error, abs=1e-5), "no other file is needed"


def test_a_model_trained_in_bfloat16_is_measured_in_float32(
    trained: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    asked: list[torch.dtype] = []
    ask = BenchmarkSuite.evaluate

    def spied(self: BenchmarkSuite, vlm: VLM, *rest: Any) -> Measurement:
        asked.append(vlm.causal_lm.dtype)
        return ask(self, vlm, *rest)

    monkeypatch.setattr(BenchmarkSuite, "evaluate", spied)
    runs = trained / "half" / "runs"
    run_task(config(trained, "train", "encoder=blind", "llm.dtype=bfloat16", f"task.runs={runs}"))
    assert results.read_file(runs / GROUP / "blind-0" / "result.json").dtype == "bfloat16"
    assert set(asked) == {torch.float32}
    assert "blind-0: mean 0.000 +- 0.000 (naming 0.000, detail 0.000, category 0.000)" in capsys.readouterr().out


def test_mlflow_has_curves_and_bars_and_the_seeds_under_one_run(trained: Path) -> None:
    client = MlflowClient(f"sqlite:///{trained / 'mlruns' / 'mlflow.db'}")
    (experiment,) = [found for found in client.search_experiments() if found.name == "vlmatch"]
    runs = {run.info.run_name: run for run in client.search_runs([experiment.experiment_id])}
    assert runs.keys() == {f"{GROUP}/{name}" for name in ("pixels16-0", "pixels16-1", "pixels16", "blind-0", "blind")}
    seed, parent = runs[f"{GROUP}/pixels16-0"], runs[f"{GROUP}/pixels16"]
    assert seed.info.status == "FINISHED"
    assert seed.data.tags["mlflow.parentRunId"] == parent.info.run_id
    curve = client.get_metric_history(seed.info.run_id, "loss")
    assert [point.step for point in curve] == list(range(16))
    bar = client.get_metric_history(seed.info.run_id, "benchmark/retrieval")
    assert [point.step for point in bar] == [0]  # any other step makes it a curve
    assert {"learning_rate", "tokens_per_second", "gradient_norm", "memory_gib", "benchmark/retrieval"} <= set(
        seed.data.metrics
    )
    both = [results.read_file(trained / "runs" / GROUP / f"pixels16-{n}" / "result.json").mean.score for n in (0, 1)]
    assert parent.data.metrics["mean"] == pytest.approx(sum(both) / 2)
    assert parent.data.metrics["mean/deviation"] == pytest.approx(abs(both[0] - both[1]) / 2**0.5)
    minutes = seed.data.metrics["cost/training minutes"]
    assert minutes == pytest.approx(seconds_of(trained, 0) / 60, rel=1e-3)
    (view,) = (value for key, value in experiment.tags.items() if key.startswith("mlflow.sharedViewState.trainings-"))
    state = json.loads(zlib.decompress(base64.b64decode(json.loads(view)["state"].removeprefix("deflate;"))))
    shown = client.search_runs([experiment.experiment_id], state["searchFilter"])
    assert {run.info.run_name for run in shown} == {f"{GROUP}/pixels16", f"{GROUP}/blind"}
    assert set(state["selectedColumns"]) <= {f"metrics.`{name}`" for name in parent.data.metrics}


def seconds_of(trained: Path, seed: int) -> float:
    return results.read_file(trained / "runs" / GROUP / f"pixels16-{seed}" / "result.json").seconds.train


def test_a_seed_measured_by_another_suite_is_not_averaged(trained: Path) -> None:
    path = trained / "runs" / GROUP / "pixels16-1" / "result.json"
    before = results.read_file(path)
    older = {name: found for name, found in before.benchmarks.items() if name != "caption_gain"}
    results.write_file(path, replace(before, suite=replace(before.suite, version=0), benchmarks=older))
    try:
        run_task(config(trained, "evaluate"))
        client = MlflowClient(f"sqlite:///{trained / 'mlruns' / 'mlflow.db'}")
        (experiment,) = [found for found in client.search_experiments() if found.name == "vlmatch"]
        (parent,) = client.search_runs([experiment.experiment_id], f"run_name = '{GROUP}/pixels16'")
        own = results.read_file(path.parent.parent / "pixels16-0" / "result.json").mean.score
        assert parent.data.tags["seeds"] == "0"
        assert parent.data.metrics["mean"] == pytest.approx(own)
    finally:
        results.write_file(path, before)


def test_a_finished_run_is_not_repeated(
    trained: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(Stage, "training_step", None)
    run_task(config(trained, "train"))
    assert "embedded/tiny-vlm_a/pixels16-0: already trained and measured" in capsys.readouterr().out


def test_a_job_waits_for_another_that_trains_the_same_run_and_finds_it_finished(
    trained: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    made = config(trained, "train", f"task.runs={tmp_path}", "task.blind=null")
    settings = Settings[TrainTask].read(made)
    run = Run(settings.encoder, settings.llm, settings.recipe, "32-true")
    with trained_elsewhere(run, tmp_path, trained / "runs" / run.name, monkeypatch), monkeypatch.context() as patched:
        patched.setattr(Stage, "training_step", None)
        run_task(made)
    told = capsys.readouterr().out
    assert f"waiting for another process, which is training {run.name}; " in told
    assert f"{run.name}: already trained and measured" in told


def test_the_precision_of_a_training_is_kept_and_it_continues_in_no_other(trained: Path, tmp_path: Path) -> None:
    own = ("encoder=blind", f"task.runs={tmp_path}")
    run_task(config(trained, "train", *own, "trainer.precision=bf16-mixed"))
    with pytest.raises(VlmatchError, match=r'trainer\.precision="bf16-mixed" instead of "32-true"'):
        run_task(config(trained, "train", *own))
    run_task(config(trained, "evaluate", *own))
    assert results.read_file(tmp_path / GROUP / "blind-0" / "result.json").precision == "bf16-mixed"
    assert results.read_file(trained / "runs" / GROUP / "blind-0" / "result.json").precision == "32-true"


def test_no_result_stands_beside_the_likelihoods_of_another_measurement(
    trained: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    folder = tmp_path / GROUP / "blind-0"
    shutil.copytree(trained / "runs" / GROUP / "blind-0", folder)
    again = config(trained, "evaluate", "encoder=blind", f"task.runs={tmp_path}")
    with monkeypatch.context() as patched:
        patched.setattr(evaluate, "write_file", full)
        with pytest.raises(OSError, match="No space left"):
            run_task(again)
    assert not (folder / "result.json").exists()
    run_task(again)
    assert (folder / "result.json").is_file()


def test_a_run_measured_by_another_suite_is_measured_again_without_training(
    trained: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Stage, "training_step", None)
    path = trained / "runs" / GROUP / "pixels16-0" / "result.json"
    before = results.read_file(path)
    results.write_file(path, replace(before, suite=replace(before.suite, version=0)))
    run_task(config(trained, "train"))
    assert results.read_file(path).suite == before.suite


def test_measuring_again_gives_the_same_scores_in_the_same_run(trained: Path) -> None:
    path = trained / "runs" / GROUP / "pixels16-0" / "result.json"
    before, run_id = results.read_file(path), (path.parent / "mlflow_run").read_text()
    path.unlink()
    run_task(config(trained, "evaluate"))
    after = results.read_file(path)
    assert after.benchmarks == before.benchmarks
    assert (after.mean, after.milestones) == (before.mean, before.milestones)
    assert (path.parent / "mlflow_run").read_text() == run_id


def test_results_are_collected(trained: Path) -> None:
    run_task(config(trained, "collect"))
    assert len(results.read(trained / "results")) == 3


def test_a_training_whose_result_is_collected_can_be_left_out(
    trained: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    run_task(config(trained, "collect"))
    elsewhere = (f"task.runs={tmp_path / 'runs'}", "task.skip_collected=true", "task.blind=null")
    monkeypatch.setattr(Stage, "training_step", None)
    run_task(config(trained, "train", *elsewhere))
    assert "pixels16-0: its result is already in" in capsys.readouterr().out
    assert not (tmp_path / "runs").exists()
    monkeypatch.undo()
    run_task(config(trained, "train", *elsewhere, "recipe.stages.0.warm_up=0.2"))  # another recipe
    assert (tmp_path / "runs" / GROUP / "pixels16-0" / "result.json").is_file()


def test_a_run_without_training_is_not_measured(trained: Path) -> None:
    with pytest.raises(VlmatchError, match=r"mean_colour-0.* task=train"):
        run_task(config(trained, "evaluate", "encoder=mean_colour"))


def test_a_vlm_trained_on_another_split_is_not_measured_on_this_one(trained: Path) -> None:
    path = trained / "runs" / GROUP / "pixels16-1" / "vlm" / "data.json"
    before = path.read_text()
    path.write_text(json.dumps(["f" * 64]))
    try:
        with pytest.raises(VlmatchError, match="was trained on another split"):
            run_task(config(trained, "evaluate", "recipe.seed=1"))
    finally:
        path.write_text(before)


def domain(home: Path, extends: str = "null") -> list[str]:
    """The overrides of a suite that asks about other pictures than those of the split, by categories of its own."""
    split = (
        f"{{_target_: vlm.made_split.made_domain, folder: {home / 'drawn'}, split: '${{split}}', extends: {extends}}}"
    )
    return [
        *("benchmark.name=domain", "benchmark.share=domain", "benchmark.course=null", f"+benchmark.split={split}"),
        *("+benchmark.categories=[kitchen,office]", f"task.apart={home / 'apart'}"),
    ]


def test_another_suite_is_measured_apart_on_a_split_that_extends_the_trained_one(
    trained: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    own = trained / "runs" / GROUP / "pixels16-0"
    before = (own / "result.json").read_bytes(), (own / "mlflow_run").read_text()
    run_task(config(trained, "evaluate", *domain(trained)))
    assert ((own / "result.json").read_bytes(), (own / "mlflow_run").read_text()) == before
    found, first = (results.read_file(path / "result.json") for path in (trained / "apart" / GROUP / "pixels16-0", own))
    assert (found.suite.name, found.run, found.loss) == ("domain", first.run, first.loss)
    assert found.split != first.split
    assert found.benchmarks["category"].chance == pytest.approx(1 / 2)
    assert [milestone.step for milestone in found.milestones] == [16]
    capsys.readouterr()
    run_task(config(trained, "evaluate", *domain(trained)))
    assert "pixels16-0: already measured" in capsys.readouterr().out
    client = MlflowClient(f"sqlite:///{trained / 'mlruns' / 'mlflow.db'}")
    (experiment,) = [each for each in client.search_experiments() if each.name == "vlmatch"]
    runs = client.search_runs([experiment.experiment_id], f"run_name = '{GROUP}/pixels16-0'")
    assert [run.data.tags["task"] for run in runs].count("evaluate domain") == 1
    run_task(config(trained, "collect", "benchmark.name=domain", f"task.runs={trained}/apart", f"results={trained}/r2"))
    assert [result.suite.name for result in results.read(trained / "r2")] == ["domain"]


def test_a_suite_whose_split_does_not_extend_the_trained_one_is_refused(trained: Path) -> None:
    with pytest.raises(VlmatchError, match=r"benchmark\.split of suite 'domain' does not extend the split"):
        run_task(config(trained, "evaluate", *domain(trained, "f" * 64), f"task.apart={trained}/other"))


def test_results_kept_apart_may_not_lie_among_the_runs(trained: Path) -> None:
    with pytest.raises(VlmatchError, match=r"task\.apart='.*' lies in task\.runs='.*give a folder beside it"):
        run_task(config(trained, "evaluate", f"task.apart={trained}/runs/apart"))


def test_a_run_does_not_continue_under_another_recipe(trained: Path) -> None:
    with pytest.raises(VlmatchError, match=r"recipe\.projector\.tokens=2 instead of 3"):
        run_task(config(trained, "train", "recipe.projector.tokens=3"))
