"""Progress of scoring: a bar with the time left on a terminal, elsewhere a line now and then."""

from typing import Self

from rich.console import Console

from vlmatch.machine.bars import bar
from vlmatch.machine.waiting import NowAndThen


class ScoringProgress:
    """Shows how many pairs of encoder and LLM are scored; shows nothing if there are none to score."""

    def __init__(self, total: int) -> None:
        self.total, self.done = total, 0
        console = Console()
        self._bar = bar(console, shown=bool(total))
        self._task = self._bar.add_task("scores of an encoder and an LLM", total=total)
        self._lines = None if console.is_terminal else NowAndThen()

    def __enter__(self) -> Self:
        self._bar.start()
        return self

    def __exit__(self, *exception: object) -> None:
        self._bar.stop()

    def advance(self) -> None:
        """Count one pair."""
        self.done += 1
        self._bar.advance(self._task)
        if self._lines is not None:
            self._lines.say(f"scores: {self.done} of {self.total} pairs of an encoder and an LLM")
