"""Whoever waits is told for what; what is quick says nothing."""

import threading
import time
from pathlib import Path

import pytest
from filelock import FileLock

from vlmatch.machine import waiting as waiting_module
from vlmatch.machine.waiting import NowAndThen, locked, waiting
from vlmatch.objects import admitted, build


@pytest.fixture(autouse=True)
def soon(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(waiting_module, "SECONDS", 0.05)


def test_a_long_wait_says_for_what_and_until_when_once(capsys: pytest.CaptureFixture[str]) -> None:
    with waiting("a server", "given up after a minute"):
        time.sleep(0.2)
    assert capsys.readouterr().out == "waiting for a server; given up after a minute\n"


def test_a_short_one_says_nothing(capsys: pytest.CaptureFixture[str]) -> None:
    with waiting("a server", "given up after a minute"):
        pass
    time.sleep(0.1)
    assert capsys.readouterr().out == ""


def test_progress_is_told_now_and_then(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(waiting_module, "BETWEEN_LINES", 0.2)
    lines = NowAndThen()
    lines.say("1")
    time.sleep(0.3)
    for line in ("2", "3"):
        lines.say(line)
    assert capsys.readouterr().out == "2\n"


def test_the_one_who_waits_for_a_lock_says_who_has_it_and_goes_on(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    lock = tmp_path / "fetch.lock"
    has_it = threading.Event()

    def other() -> None:
        with FileLock(lock):
            has_it.set()
            time.sleep(0.3)

    threading.Thread(target=other).start()
    has_it.wait()
    with locked(lock, "fetching data"):
        time.sleep(0.1)  # work under the lock is no wait
    said = capsys.readouterr().out
    assert said.count("\n") == 1
    assert "another process, which is fetching data" in said
    assert str(lock) in said


def test_an_object_that_is_slow_to_build_says_what_is_read(capsys: pytest.CaptureFixture[str]) -> None:
    with admitted(f"{__name__}."):
        build({"_target_": f"{__name__}.slow", "name": "s"}, "encoder")
    assert capsys.readouterr().out == "waiting for encoder 's'; its weights or data are being read\n"


def slow(name: str) -> str:
    time.sleep(0.2)
    return name
