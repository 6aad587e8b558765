"""Say why the user waits: whatever takes longer than a few seconds prints one line, with its reason and its end."""

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from filelock import FileLock, Timeout

from vlmatch.errors import VlmatchError

SECONDS = 5.0
"""Whatever ends sooner prints nothing."""
BETWEEN_LINES = 30.0
"""Seconds between two lines about the progress of one thing."""


@contextmanager
def waiting(what: str, until: str) -> Iterator[None]:
    """Print `waiting for WHAT; UNTIL` once if the block takes longer than `SECONDS`.

    what: the reason, as in "MLflow's server 'http://host'". until: when it ends, as in "given up after 20 s".
    """
    timer = threading.Timer(SECONDS, _say, (f"waiting for {what}; {until}",))
    timer.daemon = True  # a process that is stopped meanwhile ends at once
    timer.start()
    try:
        yield
    finally:
        timer.cancel()


@contextmanager
def locked(path: Path, what: str, *, wait: bool = True) -> Iterator[None]:
    """Hold the lock file `path` against other processes; a wait for it prints what the other process does.

    The lock ends with its process, however that ends. what: the work that only one process may do at a time, as in
    "fetching the probe's data". wait: false for a job whose other processes would not wait too.
    Raises OSError if the lock file can't be written, and VlmatchError if it is held and `wait` is false.
    """
    lock = FileLock(path)
    with waiting(f"another process, which is {what}", f"it holds '{path}', and this one goes on as soon as it is done"):
        try:
            lock.acquire(blocking=wait)
        except Timeout as error:
            raise VlmatchError(
                f"another process is {what} (it holds '{path}'), and a job of several processes can't wait for it; "
                "start this job again as soon as it is done"
            ) from error
    try:
        yield
    finally:
        lock.release()


class NowAndThen:
    """Prints the lines that it is given, but at most one every `BETWEEN_LINES` seconds."""

    def __init__(self) -> None:
        self._said = time.monotonic()

    def say(self, line: str) -> None:
        """Print this line if it is time for one."""
        if time.monotonic() - self._said >= BETWEEN_LINES:
            self._said = time.monotonic()
            _say(line)


def _say(line: str) -> None:
    print(line, flush=True)
