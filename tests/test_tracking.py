"""MLflow: orphans, races, secrets, and the comparison page's address."""

import contextlib
import http.server
import json
import os
import shutil
import sqlite3
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from urllib.parse import unquote

import pytest
from omegaconf import OmegaConf

from vlmatch.errors import VlmatchError
from vlmatch.messages import user_message
from vlmatch.mlflow_connection import Address, GuardedClient
from vlmatch.settings.work import TrackingSettings
from vlmatch.tracking import Tracker


@pytest.fixture(scope="module")
def fresh(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A database without experiments, because MLflow takes seconds to make one."""
    folder = tmp_path_factory.mktemp("fresh")
    Tracker.of(TrackingSettings(folder=folder, uri=f"sqlite:///{folder}/mlflow.db", experiment="another"))
    return folder / "mlflow.db"


@pytest.fixture
def bare(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> TrackingSettings:
    """Settings of a folder that is not there yet."""
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    return TrackingSettings(folder=tmp_path / "mlruns", uri=None, experiment="vlmatch")


@pytest.fixture
def settings(bare: TrackingSettings, fresh: Path) -> TrackingSettings:
    bare.folder.mkdir()
    shutil.copy(fresh, bare.folder)
    return bare


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
def test_processes_that_race_through_the_first_use_do_not_break_the_database(bare, tmp_path: Path) -> None:
    script = (
        "from vlmatch.settings.work import TrackingSettings; from vlmatch.tracking import Tracker\n"
        f"t = Tracker.of(TrackingSettings(folder={str(bare.folder)!r}, uri=None, experiment='vlmatch'))\n"
        "with t.run('r', {}) as run:\n    [t.client.log_metric(run, 'm', i) for i in range(5)]"
    )
    racing = [subprocess.Popen([sys.executable, "-c", script]) for _ in range(3)]
    assert [process.wait(timeout=120) for process in racing] == [0, 0, 0]
    tracker = Tracker.of(bare)
    assert len(tracker.client.search_runs([tracker.experiment_id])) == 3


class Answering(http.server.BaseHTTPRequestHandler):
    """A server that answers each request by the next of `answers`, and by the last of them from then on."""

    answers: list[tuple[int, str]]

    def do_GET(self) -> None:
        self.rfile.read(int(self.headers.get("Content-Length", 0)))
        status, body = self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]
        self.send_response(status)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body.encode())

    def do_POST(self) -> None:
        self.do_GET()

    def log_message(self, *_: object) -> None:
        pass


@contextmanager
def answering(*answers: tuple[int, str]) -> Iterator[str]:
    """The address of a server that gives these answers, each a status and a body."""
    handler = type("Handler", (Answering,), {"answers": list(answers)})
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
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
def test_an_address_that_cannot_work_is_one_line(bare: TrackingSettings, uri: str) -> None:
    refused(bare.changed(uri=uri), f"tracking.uri='{uri}'")


def test_a_server_that_is_not_there_is_told_in_the_words_of_the_network(bare: TrackingSettings) -> None:
    refused(bare.changed(uri="http://127.0.0.1:9"), "Connection refused; check")


PROBLEM = '{"error_code": "%s", "message": "no"}'


@pytest.mark.parametrize(
    ("status", "body"),
    [
        (200, "<html>log in</html>"),
        (200, '{"experiment": [3]}'),
        (200, ""),
        (401, "You are not authenticated"),
        (401, '{"detail": "no"}'),
        (403, PROBLEM % "PERMISSION_DENIED"),
        (404, "<html>not found</html>"),
        (404, '{"error_code": 404}'),
        (500, PROBLEM % "INTERNAL_ERROR"),
        (500, "<html>oh no</html>"),
    ],
)
def test_a_server_that_does_not_do_as_mlflow_would_is_one_line(bare, status: int, body: str) -> None:
    with answering((status, body)) as uri:
        refused(bare.changed(uri=uri), f"tracking.uri='{uri}'", "MLFLOW_TRACKING_USERNAME", "leave out tracking.uri")


def test_a_server_of_the_environment_is_named_by_its_variable(bare, monkeypatch: pytest.MonkeyPatch) -> None:
    with answering((403, "no")) as uri:
        monkeypatch.setenv("MLFLOW_TRACKING_URI", uri)
        refused(bare, f"MLFLOW_TRACKING_URI='{uri}'")


EXPERIMENT = '{"experiment": {"experiment_id": "7", "name": "vlmatch", "lifecycle_stage": "active"}}'


def test_a_server_that_dies_later_is_one_line_and_does_not_hide_the_error_that_ends_the_run(
    bare, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    run = '{"run": {"info": {"run_id": "r", "experiment_id": "7", "status": "RUNNING"}}}'
    answers = (200, EXPERIMENT), (200, "{}"), (200, run), (500, "<html>gone</html>")
    with answering(*answers) as uri:
        tracker = Tracker.of(bare.changed(uri=uri))
        line = rf"tracking\.uri='{uri}': MLflow can't log metric there: .*what was computed is kept"
        with pytest.raises(VlmatchError, match=line), tracker.run("r", {}) as run_id:
            tracker.client.log_metric(run_id, "m", 1.0)
        tracker.close_if_running("r")
    with answering(*answers[2:]) as later:
        tracker = replace(tracker, client=GuardedClient(Address(later, "tracking.uri")))
        with pytest.raises(ZeroDivisionError), tracker.run("r", {}):
            raise ZeroDivisionError


@pytest.mark.parametrize("name", ["", " ", "a" * 300, "a\nb"])
def test_an_experiment_that_mlflow_cannot_name_is_one_line(bare: TrackingSettings, name: str) -> None:
    refused(bare.changed(experiment=name), "tracking.experiment='")


def test_a_damaged_database_is_one_line_and_moving_it_away_helps(bare, tmp_path: Path) -> None:
    database = tmp_path / "mlruns" / "mlflow.db"
    database.parent.mkdir()
    database.write_bytes(b"no database" * 100)
    refused(bare, "tracking.folder='sqlite:///", f"'{database}'", "move it away")
    database.rename(tmp_path / "away.db")
    database.touch()  # as SQLite leaves one that was only opened
    Tracker.of(bare)


def test_a_database_whose_making_is_stopped_is_not_there(bare, monkeypatch: pytest.MonkeyPatch) -> None:
    from mlflow.store.tracking import sqlalchemy_store

    def stopped(uri: str, root: str) -> None:
        Path(uri.removeprefix("sqlite:///")).write_bytes(b"half of it")
        raise SystemExit(143)  # as SIGTERM does

    monkeypatch.setattr(sqlalchemy_store, "SqlAlchemyStore", stopped)
    with pytest.raises(SystemExit):
        Tracker.of(bare)
    assert [file.name for file in bare.folder.iterdir()] == [".lock"]


def test_only_a_file_that_is_absent_or_empty_is_made(bare, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from mlflow.store.tracking import sqlalchemy_store

    def made(uri: str, root: str) -> SimpleNamespace:
        Path(uri.removeprefix("sqlite:///")).write_text("made")
        return SimpleNamespace(engine=SimpleNamespace(dispose=lambda: None))

    monkeypatch.setattr(sqlalchemy_store, "SqlAlchemyStore", made)
    monkeypatch.chdir(tmp_path)
    (tmp_path / "folder").mkdir()
    (tmp_path / "empty.db").touch()
    (tmp_path / "full.db").write_text("kept")
    os.mkfifo(tmp_path / "pipe")
    names = ["relative.db", "empty.db", "full.db", "folder", "pipe", ":memory:", "", "nowhere/x.db", "x.db?mode=ro"]
    for name in names:
        Address(f"sqlite:///{name}", "tracking.uri").create_database()
    assert sorted(file.name for file in tmp_path.iterdir() if file.is_file() and file.read_text() == "made") == [
        "empty.db",
        "relative.db",
    ]
    assert len(list(tmp_path.iterdir())) == 5


@pytest.mark.parametrize("name", ["what?", "50%41"])
def test_a_folder_whose_name_is_no_part_of_an_address_is_one_line(bare, name: str) -> None:
    refused(bare.changed(folder=bare.folder / name), f"{name}/mlflow.db'", "give another tracking.folder")


@pytest.mark.parametrize("tables", [["users"], ["users", "alembic_version"]])
def test_a_database_of_another_program_is_one_line_and_stays_as_it_is(bare, tmp_path: Path, tables) -> None:
    file = tmp_path / "other.db"
    with contextlib.closing(sqlite3.connect(file)) as database:
        for table in tables:
            database.execute(f"create table {table} (a)")
    before = file.read_bytes()
    refused(bare.changed(uri=f"sqlite:///{file}"), "another program", "users")
    assert file.read_bytes() == before


def test_a_database_that_cannot_be_opened_is_one_line(bare, tmp_path: Path) -> None:
    refused(bare.changed(uri=f"sqlite:///{tmp_path}/nowhere/x.db"), "tracking.uri='sqlite:///")
    refused(bare.changed(uri="mysql+nodriver://host/x"), "tracking.uri='mysql+nodriver://host/x'")


def test_a_folder_may_be_relative(settings, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(settings.folder.parent)
    tracker = Tracker.of(settings.changed(folder=Path(settings.folder.name)))
    tracker.client.log_text(tracker.start("r", {}), "text", "a.txt")
    assert len(list(settings.folder.rglob("a.txt"))) == 1


def test_a_deleted_experiment_is_one_line_and_the_command_that_it_gives_restores_it(
    settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    tracker = Tracker.of(settings)
    tracker.client.delete_experiment(tracker.experiment_id)
    restore = f"mlflow experiments restore --experiment-id {tracker.experiment_id}"
    refused(settings, "tracking.experiment='vlmatch'", "deleted", f"MLFLOW_TRACKING_URI={tracker.uri} {restore}")
    from mlflow.experiments import commands

    monkeypatch.setenv("MLFLOW_TRACKING_URI", tracker.uri)
    commands(restore.split()[2:], standalone_mode=False)
    assert Tracker.of(settings).experiment_id == tracker.experiment_id


def test_mlflow_waits_briefly_while_connecting_and_as_the_user_set_it(settings, monkeypatch) -> None:
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_TIMEOUT", "5")
    monkeypatch.delenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", raising=False)

    def seen() -> tuple[str | None, str | None]:
        names = "MLFLOW_HTTP_REQUEST_MAX_RETRIES", "MLFLOW_HTTP_REQUEST_TIMEOUT"
        return os.environ.get(names[0]), os.environ.get(names[1])

    client = Tracker.of(settings).client
    monkeypatch.setattr("mlflow.MlflowClient.get_run", lambda *_: seen())
    assert client.get_run("r") == ("5", "5")
    with client.hurried():
        assert client.get_run("r") == ("1", "5")
    assert seen() == (None, "5")


def test_a_run_that_is_stopped_ends_as_killed(settings) -> None:
    tracker = Tracker.of(settings)
    for stop in (SystemExit(143), KeyboardInterrupt()):
        with pytest.raises(type(stop)), tracker.run("r", {}) as run:
            raise stop
        assert status(tracker, run) == "KILLED"


def test_lightning_writes_to_the_run_and_leaves_its_end_to_us(settings) -> None:
    tracker = Tracker.of(settings)
    with tracker.run("r", {}) as run:
        logger = tracker.lightning_logger(run)
        logger.log_metrics({"loss": 0.5}, step=3)
        logger.finalize("failed")
        assert status(tracker, run) == "RUNNING"
        assert tracker.client.get_run(run).data.metrics == {"loss": 0.5}


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
