"""Servers and databases of MLflow that fail, in whatever way, are one line."""

import contextlib
import http.server
import os
import sqlite3
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import pytest

from vlmatch.errors import VlmatchError
from vlmatch.messages import user_message
from vlmatch.settings.work import TrackingSettings
from vlmatch.tracking import connection
from vlmatch.tracking.connection import BRIEF, HURRIED, Address, GuardedClient
from vlmatch.tracking.tracker import Tracker


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


def refused(tracking: TrackingSettings, *parts: str) -> None:
    """Connecting is one line that holds all of `parts`, in under 20 seconds."""
    started = time.perf_counter()
    with pytest.raises(VlmatchError) as error:
        Tracker.of(tracking)
    assert time.perf_counter() - started < 20
    line = user_message(error.value)
    assert line is not None
    assert "\n" not in line
    assert all(part in line for part in parts), line


@pytest.mark.parametrize("uri", ["/a/folder", "a/folder", "file:///a/folder", "foo://bar", "http://127.0.0.1:9"])
def test_an_address_that_cannot_work_is_one_line(bare_tracking: TrackingSettings, uri: str) -> None:
    refused(bare_tracking.changed(uri=uri), f"tracking.uri='{uri}'")


def test_a_server_that_is_not_there_is_told_in_the_words_of_the_network(bare_tracking: TrackingSettings) -> None:
    refused(bare_tracking.changed(uri="http://127.0.0.1:9"), "Connection refused; check")


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
def test_a_server_that_does_not_do_as_mlflow_would_is_one_line(bare_tracking, status: int, body: str) -> None:
    with answering((status, body)) as uri:
        refused(
            bare_tracking.changed(uri=uri),
            f"tracking.uri='{uri}'",
            "MLFLOW_TRACKING_USERNAME",
            "leave out tracking.uri",
        )


def test_a_server_of_the_environment_is_named_by_its_variable(bare_tracking, monkeypatch: pytest.MonkeyPatch) -> None:
    with answering((403, "no")) as uri:
        monkeypatch.setenv("MLFLOW_TRACKING_URI", uri)
        refused(bare_tracking, f"MLFLOW_TRACKING_URI='{uri}'")


EXPERIMENT = '{"experiment": {"experiment_id": "7", "name": "vlmatch", "lifecycle_stage": "active"}}'


def test_a_server_that_dies_later_is_one_line_and_does_not_hide_the_error_that_ends_the_run(
    bare_tracking, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    run = '{"run": {"info": {"run_id": "r", "experiment_id": "7", "status": "RUNNING"}}}'
    answers = (200, EXPERIMENT), (200, "{}"), (200, run), (500, "<html>gone</html>")
    with answering(*answers) as uri:
        tracker = Tracker.of(bare_tracking.changed(uri=uri))
        line = rf"tracking\.uri='{uri}': MLflow can't log metric there: .*what was computed is kept"
        with pytest.raises(VlmatchError, match=line), tracker.run("r", {}) as run_id:
            tracker.client.log_metric(run_id, "m", 1.0)
        tracker.close_if_running("r")
    with answering(*answers[2:]) as later:
        tracker = replace(tracker, client=GuardedClient(Address(later, "tracking.uri")))
        with pytest.raises(ZeroDivisionError), tracker.run("r", {}):
            raise ZeroDivisionError


def test_a_dead_server_is_waited_for_once_until_it_answers_again(
    bare_tracking, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(connection, "SECONDS", 0.0)  # so that every refusal counts as a long wait
    monkeypatch.setattr(connection, "_lost", set())
    (hurried, brief), gone = (1 + each.retries for each in (HURRIED, BRIEF)), (500, "gone")
    with answering(*[gone] * (hurried + 2 * brief), (200, EXPERIMENT), (200, "{}"), gone) as uri:
        for _ in range(3):
            refused(bare_tracking.changed(uri=uri), f"tracking.uri='{uri}'")
        tracker = Tracker.of(bare_tracking.changed(uri=uri))  # all refusals that were expected are used up
        assert tracker.experiment_id == "7"
        assert not connection._lost


@pytest.mark.parametrize("name", ["", " ", "a" * 300, "a\nb"])
def test_an_experiment_that_mlflow_cannot_name_is_one_line(bare_tracking: TrackingSettings, name: str) -> None:
    refused(bare_tracking.changed(experiment=name), "tracking.experiment='")


def test_a_damaged_database_is_one_line_and_moving_it_away_helps(bare_tracking, tmp_path: Path) -> None:
    database = tmp_path / "mlruns" / "mlflow.db"
    database.parent.mkdir()
    database.write_bytes(b"no database" * 100)
    refused(bare_tracking, "tracking.folder='sqlite:///", f"'{database}'", "move it away")
    database.rename(tmp_path / "away.db")
    database.touch()  # as SQLite leaves one that was only opened
    Tracker.of(bare_tracking)


def test_a_database_whose_making_is_stopped_is_not_there(bare_tracking, monkeypatch: pytest.MonkeyPatch) -> None:
    from mlflow.store.tracking import sqlalchemy_store

    def stopped(uri: str, root: str) -> None:
        Path(uri.removeprefix("sqlite:///")).write_bytes(b"half of it")
        raise SystemExit(143)  # as SIGTERM does

    monkeypatch.setattr(sqlalchemy_store, "SqlAlchemyStore", stopped)
    with pytest.raises(SystemExit):
        Tracker.of(bare_tracking)
    assert [file.name for file in bare_tracking.folder.iterdir()] == [".lock"]


def test_only_a_file_that_is_absent_or_empty_is_made(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
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
def test_a_folder_whose_name_is_no_part_of_an_address_is_one_line(bare_tracking, name: str) -> None:
    folder = bare_tracking.folder / name
    refused(bare_tracking.changed(folder=folder), f"{name}/mlflow.db'", "give another tracking.folder")


@pytest.mark.parametrize("tables", [["users"], ["users", "alembic_version"]])
def test_a_database_of_another_program_is_one_line_and_stays_as_it_is(bare_tracking, tmp_path: Path, tables) -> None:
    file = tmp_path / "other.db"
    with contextlib.closing(sqlite3.connect(file)) as database:
        for table in tables:
            database.execute(f"create table {table} (a)")
    before = file.read_bytes()
    refused(bare_tracking.changed(uri=f"sqlite:///{file}"), "another program", "users")
    assert file.read_bytes() == before


def test_a_database_that_cannot_be_opened_is_one_line(bare_tracking, tmp_path: Path) -> None:
    refused(bare_tracking.changed(uri=f"sqlite:///{tmp_path}/nowhere/x.db"), "tracking.uri='sqlite:///")
    refused(bare_tracking.changed(uri="mysql+nodriver://host/x"), "tracking.uri='mysql+nodriver://host/x'")


def test_a_deleted_experiment_is_one_line_and_the_command_that_it_gives_restores_it(
    tracking, monkeypatch: pytest.MonkeyPatch
) -> None:
    tracker = Tracker.of(tracking)
    tracker.client.delete_experiment(tracker.experiment_id)
    restore = f"mlflow experiments restore --experiment-id {tracker.experiment_id}"
    refused(tracking, "tracking.experiment='vlmatch'", "deleted", f"MLFLOW_TRACKING_URI={tracker.uri} {restore}")
    from mlflow.experiments import commands

    monkeypatch.setenv("MLFLOW_TRACKING_URI", tracker.uri)
    commands(restore.split()[2:], standalone_mode=False)
    assert Tracker.of(tracking).experiment_id == tracker.experiment_id


def test_mlflow_waits_briefly_while_connecting_and_as_the_user_set_it(tracking, monkeypatch) -> None:
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_TIMEOUT", "5")
    monkeypatch.delenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", raising=False)

    def seen() -> tuple[str | None, str | None]:
        names = "MLFLOW_HTTP_REQUEST_MAX_RETRIES", "MLFLOW_HTTP_REQUEST_TIMEOUT"
        return os.environ.get(names[0]), os.environ.get(names[1])

    client = Tracker.of(tracking).client
    monkeypatch.setattr("mlflow.MlflowClient.get_run", lambda *_: seen())
    assert client.get_run("r") == ("5", "5")
    with client.hurried():
        assert client.get_run("r") == ("1", "5")
    assert seen() == (None, "5")


def test_a_disk_that_fills_up_names_the_database(tracking, monkeypatch: pytest.MonkeyPatch) -> None:
    tracker = Tracker.of(tracking)

    def full(*_: object) -> None:
        raise sqlite3.OperationalError("database or disk is full")

    monkeypatch.setattr("mlflow.MlflowClient.log_metric", full)
    with pytest.raises(OSError, match="No space left") as caught:
        tracker.client.log_metric("r", "m", 1.0)
    line = user_message(caught.value, [f"tracking.folder={tracking.folder}"])
    assert line is not None
    assert line.startswith(f"{tracking.folder / 'mlflow.db'}: the disk is full; free some space, or give another place")
