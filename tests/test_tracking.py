"""MLflow: orphans, races, secrets, and the comparison page's address."""

import http.server
import json
import os
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import unquote

import pytest
from omegaconf import OmegaConf

from vlmatch.errors import VlmatchError
from vlmatch.messages import user_message
from vlmatch.mlflow_connection import connecting
from vlmatch.settings.work import TrackingSettings
from vlmatch.tracking import Tracker


@pytest.fixture
def settings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> TrackingSettings:
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    return TrackingSettings(folder=tmp_path / "mlruns", uri=None, experiment="vlmatch")


def status(tracker: Tracker, run_id: str) -> str:
    return tracker.client.get_run(run_id).info.status


def test_a_run_ends_as_finished_or_as_failed_with_its_error(settings) -> None:
    tracker = Tracker.of(settings)
    with tracker.run("good", {}) as good:
        pass
    with pytest.raises(ValueError, match="bad"), tracker.run("bad", {}) as bad:
        raise ValueError("bad\nthing at https://me:hidden@host")
    assert (status(tracker, good), status(tracker, bad)) == ("FINISHED", "FAILED")
    assert tracker.client.get_run(bad).data.tags["error"] == "bad thing at https://***@host"


def test_without_git_a_run_has_no_commit(settings, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "")
    tracker = Tracker.of(settings)
    with tracker.run("r", {}) as run:
        pass
    assert "git_commit" not in tracker.client.get_run(run).data.tags


def test_runs_orphaned_by_a_kill_are_closed_at_the_next_start(settings) -> None:
    tracker = Tracker.of(settings)
    gone = subprocess.Popen([sys.executable, "-c", ""])
    gone.wait()
    orphan = tracker.start("orphan", {"pid": str(gone.pid)})
    elsewhere = tracker.start("elsewhere", {"pid": str(gone.pid), "host": "another"})
    alive = tracker.start("alive", {"pid": str(os.getpid())})
    Tracker.of(settings)
    assert [status(tracker, run) for run in (orphan, elsewhere, alive)] == ["KILLED", "RUNNING", "RUNNING"]


@pytest.mark.slow
def test_processes_that_race_through_the_first_use_do_not_break_the_database(settings, tmp_path: Path) -> None:
    script = (
        "from vlmatch.settings.work import TrackingSettings; from vlmatch.tracking import Tracker\n"
        f"t = Tracker.of(TrackingSettings(folder={str(settings.folder)!r}, uri=None, experiment='vlmatch'))\n"
        "with t.run('r', {}) as run:\n    [t.client.log_metric(run, 'm', i) for i in range(5)]"
    )
    racing = [subprocess.Popen([sys.executable, "-c", script]) for _ in range(3)]
    assert [process.wait(timeout=120) for process in racing] == [0, 0, 0]
    tracker = Tracker.of(settings)
    assert len(tracker.client.search_runs([tracker.experiment_id])) == 3


class AnyPage(http.server.BaseHTTPRequestHandler):
    """Answers every request by a page, as a login in front of a server does."""

    def do_GET(self) -> None:
        self.send_response(200)
        self.send_header("Content-Type", "text/html")
        self.end_headers()
        self.wfile.write(b"<html>log in</html>")

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def login_page() -> Iterator[str]:
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), AnyPage) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()


def refused(settings: TrackingSettings, *parts: str) -> None:
    """Connecting is one line that holds all of `parts`, in under 20 seconds."""
    started = time.perf_counter()
    with pytest.raises(VlmatchError) as error:
        Tracker.of(settings)
    assert time.perf_counter() - started < 20
    line = user_message(error.value)
    assert line is not None
    assert "\n" not in line
    assert all(part in line for part in parts), line


@pytest.mark.parametrize("uri", ["/a/folder", "a/folder", "file:///a/folder", "foo://bar", "http://127.0.0.1:9"])
def test_an_address_that_cannot_work_is_one_line(settings: TrackingSettings, uri: str) -> None:
    refused(settings.changed(uri=uri), f"tracking.uri='{uri}'")


def test_a_page_instead_of_a_server_is_one_line(settings: TrackingSettings, login_page: str) -> None:
    refused(settings.changed(uri=login_page), f"tracking.uri='{login_page}'")


@pytest.mark.parametrize("name", ["", " "])
def test_an_experiment_without_a_name_is_one_line(settings: TrackingSettings, name: str) -> None:
    refused(settings.changed(experiment=name), f"tracking.experiment='{name}'")


def test_a_damaged_database_is_one_line(settings, tmp_path: Path) -> None:
    (tmp_path / "mlruns").mkdir()
    (tmp_path / "mlruns" / "mlflow.db").write_bytes(b"no database" * 100)
    refused(settings, "tracking.uri='sqlite:///", "mlflow.db'")


def test_a_deleted_experiment_is_one_line(settings) -> None:
    tracker = Tracker.of(settings)
    tracker.client.delete_experiment(tracker.experiment_id)
    refused(settings, "tracking.experiment='vlmatch'", "deleted")


def test_retries_are_few_while_connecting_and_as_before_afterwards(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_TIMEOUT", "5")
    monkeypatch.delenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", raising=False)
    with connecting("http://127.0.0.1:5000"):
        assert os.environ["MLFLOW_HTTP_REQUEST_MAX_RETRIES"] == "1"
        assert os.environ["MLFLOW_HTTP_REQUEST_TIMEOUT"] == "5"
    assert os.environ["MLFLOW_HTTP_REQUEST_TIMEOUT"] == "5"
    assert "MLFLOW_HTTP_REQUEST_MAX_RETRIES" not in os.environ


def test_artifacts_lie_beside_the_database_and_hold_no_secret(settings, tmp_path: Path) -> None:
    tracker = Tracker.of(settings)
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
