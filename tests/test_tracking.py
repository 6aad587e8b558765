"""MLflow: orphans, races, secrets, and the comparison page's address."""

import json
import os
import subprocess
import sys
from pathlib import Path
from urllib.parse import unquote

import pytest
from omegaconf import OmegaConf

from vlmatch.tracking import Tracker


@pytest.fixture
def config(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    return OmegaConf.create({"tracking": {"folder": str(tmp_path / "mlruns"), "uri": None, "experiment": "vlmatch"}})


def status(tracker: Tracker, run_id: str) -> str:
    return tracker.client.get_run(run_id).info.status


def test_a_run_ends_as_finished_or_as_failed_with_its_error(config) -> None:
    tracker = Tracker.of(config)
    with tracker.run("good", {}) as good:
        pass
    with pytest.raises(ValueError, match="bad"), tracker.run("bad", {}) as bad:
        raise ValueError("bad\nthing at https://me:hidden@host")
    assert (status(tracker, good), status(tracker, bad)) == ("FINISHED", "FAILED")
    assert tracker.client.get_run(bad).data.tags["error"] == "bad thing at https://***@host"


def test_without_git_a_run_has_no_commit(config, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "")
    tracker = Tracker.of(config)
    with tracker.run("r", {}) as run:
        pass
    assert "git_commit" not in tracker.client.get_run(run).data.tags


def test_runs_orphaned_by_a_kill_are_closed_at_the_next_start(config) -> None:
    tracker = Tracker.of(config)
    gone = subprocess.Popen([sys.executable, "-c", ""])
    gone.wait()
    orphan = tracker.start("orphan", {"pid": str(gone.pid)})
    elsewhere = tracker.start("elsewhere", {"pid": str(gone.pid), "host": "another"})
    alive = tracker.start("alive", {"pid": str(os.getpid())})
    Tracker.of(config)
    assert [status(tracker, run) for run in (orphan, elsewhere, alive)] == ["KILLED", "RUNNING", "RUNNING"]


def test_processes_that_race_through_the_first_use_do_not_break_the_database(config, tmp_path: Path) -> None:
    script = (
        "from omegaconf import OmegaConf; from vlmatch.tracking import Tracker\n"
        f"t = Tracker.of(OmegaConf.create({OmegaConf.to_container(config)!r}))\n"
        "with t.run('r', {}) as run:\n    [t.client.log_metric(run, 'm', i) for i in range(5)]"
    )
    racing = [subprocess.Popen([sys.executable, "-c", script]) for _ in range(3)]
    assert [process.wait(timeout=120) for process in racing] == [0, 0, 0]
    tracker = Tracker.of(config)
    assert len(tracker.client.search_runs([tracker.experiment_id])) == 3


def test_artifacts_lie_beside_the_database_and_hold_no_secret(config, tmp_path: Path) -> None:
    tracker = Tracker.of(config)
    sheet = {"pairs": 3, "caption words": {"median": 4.5}}
    run_id = tracker.start("r", {})
    tracker.log_config(run_id, OmegaConf.create({"hub": {"token": "hidden"}, "uri": "https://me:hidden@host", "a": 1}))
    tracker.log_sheet(run_id, sheet)
    logged = {path.name: path for path in (tmp_path / "mlruns" / "artifacts").rglob("*") if path.is_file()}
    assert sorted(logged) == ["config.yaml", "probe.json"]
    assert json.loads(logged["probe.json"].read_text()) == sheet
    assert OmegaConf.load(logged["config.yaml"]) == {"hub": {"token": "***"}, "uri": "https://***@host", "a": 1}
    assert (
        Tracker(None, "https://me:hidden@host/", "1", tmp_path)
        .comparison(["a"])
        .startswith("https://***@host/#/compare-runs")
    )


def test_the_comparison_page_names_runs_and_experiment(tmp_path: Path) -> None:
    local, server = (Tracker(None, uri, "1", tmp_path) for uri in ("sqlite:///x.db", "http://host:5000/"))
    assert (
        unquote(local.comparison(["a", "b"])) == 'http://127.0.0.1:5000/#/compare-runs?runs=["a","b"]&experiments=["1"]'
    )
    assert server.comparison(["a"]).startswith("http://host:5000/#/compare-runs?runs=")
