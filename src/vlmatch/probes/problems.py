"""Why one entry of a source can't be used: an error with a short reason, so that skipped entries can be counted."""

from typing import Literal, get_args

from vlmatch.errors import VlmatchError

OnBadEntry = Literal["error", "skip"]
"""Whether the first entry that can't be used is an error, or such entries are left out and counted."""

ON_BAD_ENTRY: tuple[OnBadEntry, ...] = get_args(OnBadEntry)

SKIPPING = "or skip and count such rows: probe.bad_rows=skip"


class EntryError(VlmatchError):
    """One entry that can't be used.

    `problem` says what is wrong, `advice` what to do, and the message is both. `reason` is the problem in a few words,
    such as 'not there': skipped entries are counted by it.
    """

    def __init__(self, problem: str, reason: str, advice: str = "fix or remove it") -> None:
        super().__init__(f"{problem}; {advice}")
        self.problem, self.reason, self.advice = problem, reason, advice

    def __reduce__(self) -> tuple[type["EntryError"], tuple[str, str, str]]:
        """Worker processes hand errors on by pickle, which needs all arguments."""
        return type(self), (self.problem, self.reason, self.advice)
