"""Report the steps of a descent to a watcher, because a descent with thousands of points takes minutes."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar

Told = Callable[[int, float], None]

_watcher: ContextVar[Told | None] = ContextVar("watcher", default=None)


@contextmanager
def watched(told: Told) -> Iterator[None]:
    """Call `told(steps so far, energy)` after each step of the descents that this thread makes in the block."""
    before = _watcher.set(told)
    try:
        yield
    finally:
        _watcher.reset(before)


def tell(steps: int, energy: float) -> None:
    """Tell the watcher, if there is one."""
    told = _watcher.get()
    if told is not None:
        told(steps, energy)
