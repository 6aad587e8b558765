"""The main job on real images with real models: a sweep, its runs in MLflow, its answer, and its failures."""

import base64
import csv
import json
import os
import socket
import subprocess
import sys
import time
import urllib.request
import zlib
from pathlib import Path

import pytest
from mlflow import MlflowClient

from vlmatch import paths

COMMON = ["probe.limit=40", "selection=gw"]


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One store, outputs and MLflow folder for all sweeps of this module."""
    return tmp_path_factory.mktemp("home")


def run(home: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    """The command that a user types, with folders of its own."""
    own = [f"store={home}/store", f"outputs={home}/outputs", f"tracking.folder={home}/mlruns"]
    inherited = {k: v for k, v in os.environ.items() if not k.startswith("VLMATCH_") or k == "VLMATCH_CACHE"}
    return subprocess.run(
        [sys.executable, str(paths.root() / "src" / "run.py"), *arguments, *own, *COMMON],
        capture_output=True, text=True, env=inherited, timeout=400, check=False,
    )  # fmt: skip


@pytest.fixture(scope="module")
def sweep(home: Path) -> subprocess.CompletedProcess[str]:
    """Two pretrained encoders, a control and one whose weights are not here, against the pool's LLM."""
    subprocess.run(
        [sys.executable, str(paths.root() / "src" / "run.py"), "task=fetch"], check=True, capture_output=True
    )
    return run(home, "encoder=efficientnet_lite0,mobilenetv2,pixels16,siglip", "llm=smollm2", "multirun")


def runs(home: Path):
    client = MlflowClient(f"sqlite:///{home}/mlruns/mlflow.db")
    (experiment,) = client.search_experiments(filter_string="name = 'vlmatch'")
    return client, client.search_runs([experiment.experiment_id], order_by=["attributes.start_time ASC"])


def test_a_sweep_ranks_goes_on_after_a_failure_and_exits_with_2(
    sweep: subprocess.CompletedProcess[str], home: Path
) -> None:
    assert sweep.returncode == 2, sweep.stderr
    assert "Traceback" not in sweep.stderr
    assert "not here: siglip x smollm2: encoder 'siglip': weights 'webli' are not here" in sweep.stderr
    assert "encoder.checkpoint=/path" in sweep.stdout
    for name in ["efficientnet_lite0", "mobilenetv2", "pixels16 c", "report: ", "viewStateShareKey=ranking-smollm2"]:
        assert name in sweep.stdout
    with (home / "outputs" / "ranking.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert {row["encoder"] for row in rows} == {"efficientnet_lite0", "mobilenetv2", "pixels16"}
    assert all(0 < float(row["gw"]) < 1.5 for row in rows)
    assert {row["encoder"]: row["control"] for row in rows}["pixels16"] == "True"


def test_the_report_stands_alone(sweep: subprocess.CompletedProcess[str], home: Path) -> None:
    page = (home / "outputs" / "report.html").read_text()
    assert "siglip" in page
    assert "Not scored" in page
    assert "<svg" in page
    assert 'src="http' not in page
    assert 'href="http' not in page


def test_mlflow_has_one_parent_and_a_child_a_pair_with_its_own_tags(
    sweep: subprocess.CompletedProcess[str], home: Path
) -> None:
    client, found = runs(home)
    (parent,) = [run for run in found if "mlflow.parentRunId" not in run.data.tags]
    children = [run for run in found if run.data.tags.get("mlflow.parentRunId") == parent.info.run_id]
    assert parent.info.status == "FAILED", "one of its jobs failed"
    assert {run.data.tags["encoder"]: run.info.status for run in children} == {
        "efficientnet_lite0": "FINISHED", "mobilenetv2": "FINISHED", "pixels16": "FINISHED", "siglip": "FAILED",
    }  # fmt: skip
    for child in children:
        assert {"sweep", "encoder", "llm", "probe", "embedding_settings", "git_commit"} <= set(child.data.tags)
    done = next(run for run in children if run.data.tags["encoder"] == "mobilenetv2")
    scores = {f"score/{name}" for name in ("gw", "gw_paired", "rsa", "cca", "mutual_nn", "cka", "ridge_r2")}
    assert {*scores, "rule/value", "rule/place", "cost/million parameters"} <= set(done.data.metrics)
    assert "shortlist for smollm2" in parent.data.tags["mlflow.note.content"]
    assert done.data.params["encoder.rule"] == "global average"
    assert done.inputs.dataset_inputs[0].dataset.name.startswith("stamps-")
    assert {item.path for item in client.list_artifacts(done.info.run_id)} == {
        "config.yaml",
        "probe.json",
        "scores.json",
    }
    assert [item.path for item in client.list_artifacts(parent.info.run_id)] == ["report.html", "report.md"]
    failed = next(run for run in children if run.data.tags["encoder"] == "siglip")
    assert "not here" in failed.data.tags["error"]


def test_the_view_of_a_ranking_has_its_runs_best_first_and_columns_that_they_have(sweep, home: Path) -> None:
    client, _ = runs(home)
    (experiment,) = client.search_experiments(filter_string="name = 'vlmatch'")
    view = json.loads(experiment.tags["mlflow.sharedViewState.ranking-smollm2"])
    state = json.loads(zlib.decompress(base64.b64decode(view["state"].removeprefix("deflate;"))))
    assert view["name"] == "Ranking for smollm2"
    found = client.search_runs(
        [experiment.experiment_id], state["searchFilter"], order_by=[state["orderByKey"] + " DESC"]
    )
    assert {run.data.tags["encoder"] for run in found[:2]} == {"efficientnet_lite0", "mobilenetv2"}
    assert {run.data.tags["encoder"] for run in found[2:]} == {"pixels16", "siglip"}
    values = [run.data.metrics["rule/value"] for run in found if "rule/value" in run.data.metrics]
    assert values == [1.0, 0.0]
    known = {f"metrics.`{name}`" for run in found for name in run.data.metrics}
    known |= {f"params.`{name}`" for run in found for name in run.data.params}
    shown = state["selectedColumns"]
    assert set(shown) <= known
    assert shown[:3] == ["metrics.`rule/value`", "metrics.`rule/place`", "metrics.`score/gw`"]
    drawn = [chart.get("metricKey") or chart["xaxis"]["key"] for chart in state["compareRunCharts"]]
    assert {f"metrics.`{name}`" for name in drawn} <= known


@pytest.mark.slow
def test_the_page_is_served_and_the_rankings_addresses_are_printed(sweep, home: Path) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = [sys.executable, str(paths.root() / "src" / "run.py"), "task=ui", f"task.port={port}"]
    with subprocess.Popen([*command, f"tracking.folder={home}/mlruns"], stdout=subprocess.PIPE, text=True) as server:
        try:
            lines = [server.stdout.readline() for _ in range(2)]
            assert f"Ranking for smollm2: http://127.0.0.1:{port}/#/experiments/1/runs?viewStateShareKey=" in lines[1]
            answered(f"http://127.0.0.1:{port}/health")
        finally:
            server.terminate()


def answered(address: str) -> None:
    """Wait until an address answers, at most two minutes."""
    for _ in range(120):
        try:
            with urllib.request.urlopen(address) as answer:
                assert answer.status == 200
                return
        except OSError:
            time.sleep(1)
    pytest.fail(f"{address} did not answer")


@pytest.mark.slow
def test_workers_of_another_launcher_join_the_same_parent(sweep: subprocess.CompletedProcess[str], home: Path) -> None:
    before = {run.info.run_id for run in runs(home)[1]}
    done = run(
        home,
        "encoder=efficientnet_lite0,pixels16",
        "llm=smollm2",
        "hydra/launcher=joblib",
        "hydra.launcher.n_jobs=2",
        "multirun",
    )
    assert done.returncode == 0, done.stderr
    new = [run for run in runs(home)[1] if run.info.run_id not in before]
    (parent,) = [run for run in new if "mlflow.parentRunId" not in run.data.tags]
    assert parent.info.status == "FINISHED"
    assert [run.data.tags["mlflow.parentRunId"] for run in new if run is not parent] == [parent.info.run_id] * 2
    assert "mobilenetv2" in done.stdout, "a sweep shows its place among what the store holds"


def test_ranking_the_store_embeds_nothing(sweep: subprocess.CompletedProcess[str], home: Path) -> None:
    before = len(runs(home)[1])
    done = run(home, "task=rank", "pool=store")
    assert done.returncode == 0, done.stderr
    assert "embedding" not in done.stdout
    assert "mobilenetv2" in done.stdout
    assert len(runs(home)[1]) == before


def test_a_process_of_a_launcher_starts_no_sweep(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LOCAL_RANK", "1")
    done = run(home, "encoder=pixels16", "multirun")
    assert done.returncode == 2
    assert "LOCAL_RANK" in done.stderr
