"""Keeps a search's folder for one process, and ends the command that a killed search has left running."""

import contextlib
import fcntl
import os
import signal
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from vlmatch.errors import VlmatchError

LOCK, COMMAND = "lock", "command.lock"
SECONDS = 10.0  # how long a command has to end after a signal


@dataclass(frozen=True)
class Claim:
    """A search's folder that this process has claimed.

    descriptor: of the file of a lock. Commands inherit it, so the lock is held until the last of them ends.
    """

    descriptor: int

    def forget(self) -> None:
        """Remove the number of the last command's process group, which may soon be that of other processes."""
        os.ftruncate(self.descriptor, 0)

    def note(self, group: int) -> None:
        """Write down the process group of the command that runs."""
        self.forget()
        os.pwrite(self.descriptor, str(group).encode(), 0)


@contextlib.contextmanager
def claimed(folder: Path) -> Iterator[Claim]:
    """Keep other processes out of a search's folder.

    If the search was killed but its command still runs, the command is ended, because nobody would read its number.
    Raises VlmatchError if another process runs the search, or if that command can't be ended.
    """
    folder.mkdir(parents=True, exist_ok=True)
    own, inherited = (os.open(folder / name, os.O_RDWR | os.O_CREAT) for name in (LOCK, COMMAND))
    try:
        if not _locked(own):
            raise VlmatchError(f"'{folder}': this search is already running; wait for it or stop it")
        if not _locked(inherited) and not _ended(folder / COMMAND, inherited):
            raise VlmatchError(f"'{folder}': this search was killed, but its command still runs; stop that command")
        yield Claim(inherited)
    finally:
        os.close(own)
        os.close(inherited)


def _locked(descriptor: int) -> bool:
    """Whether the lock could be taken."""
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _ended(path: Path, descriptor: int) -> bool:
    """End the process group that was written down; returns whether the lock could then be taken."""
    group = path.read_text()
    if not group.isdigit():
        return False
    for number in (signal.SIGTERM, signal.SIGKILL):
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(int(group), number)
        until = time.monotonic() + SECONDS
        while time.monotonic() < until:
            if _locked(descriptor):
                return True
            time.sleep(0.05)
    return False
