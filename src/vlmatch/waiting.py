"""Say what is waited for: whatever takes longer than a few seconds prints one line with its reason and its end."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from filelock import FileLock

SECONDS = 5.0
"""What is over sooner says nothing."""


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
def locked(path: Path, what: str) -> Iterator[None]:
    """Hold the lock file `path` against other processes; a wait for it says who has it.

    what: the work that only one process may do at a time, as in "fetching the probe's data".
    Raises OSError where the lock file can't be written.
    """
    lock = FileLock(path)
    with waiting(f"another process, which is {what}", f"it holds '{path}', and this one goes on as soon as it is done"):
        lock.acquire()
    try:
        yield
    finally:
        lock.release()


def _say(line: str) -> None:
    print(line, flush=True)
