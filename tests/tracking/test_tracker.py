"""MLflow: orphans, races, secrets, and the addresses of runs and views."""

import base64
import json
import os
import subprocess
import sys
import zlib
from pathlib import Path
from types import SimpleNamespace

import pytest
from omegaconf import OmegaConf

from vlmatch.tracking.tracker import Tracker


def status(tracker: Tracker, run_id: str) -> str:
    return tracker.client.get_run(run_id).info.status


def test_a_run_ends_as_finished_or_as_failed_with_its_error(tracking) -> None:
    tracker = Tracker.of(tracking)
    with tracker.run("good", {}) as good:
        pass
    with pytest.raises(ValueError, match="bad"), tracker.run("bad", {}) as bad:
        raise ValueError("bad\nthing at https://me:hidden@host")
    assert (status(tracker, good), status(tracker, bad)) == ("FINISHED", "FAILED")
    assert tracker.client.get_run(bad).data.tags["error"] == "bad thing at https://***@host"


def test_a_run_that_goes_on_is_below_todays_parent_and_without_its_former_error(tracking) -> None:
    tracker = Tracker.of(tracking)
    former, parent = tracker.start("search", {}), tracker.start("search", {})
    with pytest.raises(ValueError, match="bad"), tracker.run("arm", {}, former) as run:
        raise ValueError("bad")
    tracker.client.delete_run(former)
    with tracker.run("arm", {}, parent, again=run) as again:
        pass
    tags = tracker.client.get_run(run).data.tags
    assert (again, status(tracker, run), tags["mlflow.parentRunId"]) == (run, "FINISHED", parent)
    assert "error" not in tags


def test_without_git_a_run_has_no_commit(tracking, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "")
    tracker = Tracker.of(tracking)
    with tracker.run("r", {}) as run:
        pass
    assert "git_commit" not in tracker.client.get_run(run).data.tags


def test_runs_orphaned_by_a_kill_are_closed_at_the_next_start(tracking) -> None:
    tracker = Tracker.of(tracking)
    gone = subprocess.Popen([sys.executable, "-c", ""])
    gone.wait()
    orphan = tracker.start("orphan", {"pid": str(gone.pid)})
    elsewhere = tracker.start("elsewhere", {"pid": str(gone.pid), "host": "another"})
    alive = tracker.start("alive", {"pid": str(os.getpid())})
    Tracker.of(tracking)
    assert [status(tracker, run) for run in (orphan, elsewhere, alive)] == ["KILLED", "RUNNING", "RUNNING"]


@pytest.mark.slow
def test_processes_that_race_through_the_first_use_do_not_break_the_database(bare_tracking, tmp_path: Path) -> None:
    script = (
        "from vlmatch.settings.work import TrackingSettings; from vlmatch.tracking.tracker import Tracker\n"
        f"t = Tracker.of(TrackingSettings(folder={str(bare_tracking.folder)!r}, uri=None, experiment='vlmatch'))\n"
        "with t.run('r', {}) as run:\n    [t.client.log_metric(run, 'm', i) for i in range(5)]"
    )
    racing = [subprocess.Popen([sys.executable, "-c", script]) for _ in range(3)]
    assert [process.wait(timeout=120) for process in racing] == [0, 0, 0]
    tracker = Tracker.of(bare_tracking)
    assert len(tracker.client.search_runs([tracker.experiment_id])) == 3


def test_a_folder_may_be_relative(tracking, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tracking.folder.parent)
    tracker = Tracker.of(tracking.changed(folder=Path(tracking.folder.name)))
    tracker.client.log_text(tracker.start("r", {}), "text", "a.txt")
    assert len(list(tracking.folder.rglob("a.txt"))) == 1


def test_a_run_that_is_stopped_ends_as_killed(tracking) -> None:
    tracker = Tracker.of(tracking)
    for stop in (SystemExit(143), KeyboardInterrupt()):
        with pytest.raises(type(stop)), tracker.run("r", {}) as run:
            raise stop
        assert status(tracker, run) == "KILLED"


def test_lightning_writes_to_the_run_and_leaves_its_end_to_us(tracking) -> None:
    tracker = Tracker.of(tracking)
    with tracker.run("r", {}) as run:
        logger = tracker.lightning_logger(run)
        logger.log_metrics({"loss": 0.5}, step=3)
        logger.finalize("failed")
        assert status(tracker, run) == "RUNNING"
        assert tracker.client.get_run(run).data.metrics == {"loss": 0.5}


def test_artifacts_lie_beside_the_database_and_hold_no_secret(tracking, tmp_path: Path) -> None:
    tracker = Tracker.of(tracking)
    sheet = {"pairs": 3, "caption words": {"median": 4.5}}
    run_id = tracker.start("r", {})
    tracker.log_config(run_id, OmegaConf.create({"hub": {"token": "hidden"}, "uri": "https://me:hidden@host", "a": 1}))
    tracker.log_sheet(run_id, sheet)
    logged = {path.name: path for path in (tmp_path / "mlruns" / "artifacts").rglob("*") if path.is_file()}
    assert sorted(logged) == ["config.yaml", "probe.json"]
    assert json.loads(logged["probe.json"].read_text()) == sheet
    assert OmegaConf.load(logged["config.yaml"]) == {"hub": {"token": "***"}, "uri": "https://***@host", "a": 1}


@pytest.mark.parametrize(
    ("uri", "page"),
    [
        ("sqlite:///x.db", "http://127.0.0.1:5000/#/experiments/1/runs/a"),
        ("http://host:5000/", "http://host:5000/#/experiments/1/runs/a"),
        ("https://me:hidden@host/", "https://***@host/#/experiments/1/runs/a"),
    ],
)
def test_the_address_of_a_run_is_on_its_server_and_holds_no_secret(uri: str, page: str, tmp_path: Path) -> None:
    assert Tracker(None, uri, "1", tmp_path).address("a") == page


def test_the_view_of_a_search_has_its_trainings_best_first_and_their_values_over_steps(tracking) -> None:
    tracker = Tracker.of(tracking)
    parent = tracker.start("search s", {"task": "search"})
    for name, value in (("a", 0.1), ("b", 0.3)):
        tracker.client.log_metric(tracker.start(name, {}, parent), "value", value, step=10)
    tracker.start("another", {})
    page = tracker.save_search("s [1]", parent, higher=True)
    assert "viewStateShareKey=search-s--1-&" in page
    assert tracker.pages()["Search s [1]"] == page
    tag = tracker.client.get_experiment(tracker.experiment_id).tags["mlflow.sharedViewState.search-s--1-"]
    state = json.loads(zlib.decompress(base64.b64decode(json.loads(tag)["state"].removeprefix("deflate;"))))
    order = f"{state['orderByKey']} {'ASC' if state['orderByAsc'] else 'DESC'}"
    shown = tracker.client.search_runs([tracker.experiment_id], state["searchFilter"], order_by=[order])
    assert [run.info.run_name for run in shown] == ["b", "a"]
    curve, bars = state["compareRunCharts"]
    assert (curve["type"], curve["metricKey"], bars["type"]) == ("LINE", "value", "BAR")


def test_a_run_that_goes_on_is_this_process_own_before_it_runs_again() -> None:
    """In the other order, a process that starts in between would close the run as an orphan."""
    info = SimpleNamespace(experiment_id="1", lifecycle_stage="active")
    calls: list[str] = []
    client = SimpleNamespace(
        get_run=lambda run_id: SimpleNamespace(info=info, data=SimpleNamespace(tags={})),
        set_tag=lambda run_id, key, value: calls.append(key),
        update_run=lambda run_id, status: calls.append(status),
    )
    assert Tracker(client, "sqlite:///x", "1", Path())._again("r", None) == "r"
    assert calls == ["host", "pid", "RUNNING"]
