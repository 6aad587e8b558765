"""A search's claim on its folder, and on the command that it runs there."""

import signal
import subprocess
import time
from contextlib import ExitStack
from pathlib import Path

import pytest

from vlmatch.errors import VlmatchError
from vlmatch.search.claim import COMMAND, Claim, claimed
from vlmatch.search.command import Command


def test_a_command_that_outlived_its_search_is_ended_before_the_search_goes_on(tmp_path: Path) -> None:
    with claimed(tmp_path) as claim:
        left = subprocess.Popen(["sleep", "60"], start_new_session=True, pass_fds=[claim.descriptor])
        claim.note(left.pid)
    with claimed(tmp_path):
        assert left.wait(10) == -signal.SIGTERM


def test_an_interrupt_while_a_command_ends_stops_the_search(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    wait = subprocess.Popen.wait

    def interrupted(process: subprocess.Popen[bytes]) -> None:
        wait(process)
        raise KeyboardInterrupt

    monkeypatch.setattr(subprocess.Popen, "wait", interrupted)
    with claimed(tmp_path) as claim, pytest.raises(KeyboardInterrupt):
        Command("true {encoder}", 1, None, "an LLM", tmp_path, claim).train("a", 1.0, 0.0)


def test_a_search_stopped_before_it_notes_its_command_ends_it_and_leaves_no_earlier_number(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def stopped(*_: object) -> None:
        raise KeyboardInterrupt

    with claimed(tmp_path) as claim:
        claim.note(2**30)  # an earlier command; no process has this number
        monkeypatch.setattr(Claim, "note", stopped)
        with pytest.raises(KeyboardInterrupt):
            Command("sleep 30 {encoder}", 1, None, "an LLM", tmp_path, claim).train("0", 1.0, 0.0)
        assert (tmp_path / COMMAND).read_text() == ""
    until = time.monotonic() + 10
    with ExitStack() as stack:
        while True:
            try:
                stack.enter_context(claimed(tmp_path))
            except VlmatchError:  # the command holds its lock until it has ended
                assert time.monotonic() < until
                time.sleep(0.05)
            else:
                break
