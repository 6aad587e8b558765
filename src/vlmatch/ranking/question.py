"""What is asked of a pool: the rule that orders it, what the LLM will be fed, and the limits of a budget."""

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any, Self, get_args

from vlmatch.configs import choices, nearest
from vlmatch.costs.budget import Budget
from vlmatch.errors import VlmatchError
from vlmatch.settings.command import Settings
from vlmatch.settings.selection import EVIDENCE, PAPER_RULE
from vlmatch.settings.work import Fed


def require_selection(selection: str, scores: Iterable[str]) -> None:
    """Raise VlmatchError unless `selection` names a rule, one of these scores or one of conf/score."""
    computed = list(scores)
    if selection in (EVIDENCE, PAPER_RULE, *computed) or selection in choices("score"):
        return
    offered = nearest(selection, [EVIDENCE, PAPER_RULE, *computed])
    raise VlmatchError(f"selection={selection} is neither evidence nor paper nor a score; {offered}")


@dataclass(frozen=True)
class Question:
    """What a user asks of a pool of encoders.

    selection: what orders the pool. 'evidence': the rule that the record chose. 'paper': the lowest GW. Otherwise the
    name of a score. fed: what the LLM will be fed. against: the encoder that the user has now. budget: what candidates
    may cost.

    Raises VlmatchError if `fed` is neither 'pooled' nor 'patches'.
    """

    selection: str = EVIDENCE
    fed: Fed = "patches"
    against: str | None = None
    budget: Budget = field(default_factory=Budget)

    def __post_init__(self) -> None:
        if self.fed not in get_args(Fed):
            raise VlmatchError(f"fed={self.fed!r}; wanted {' or '.join(map(repr, get_args(Fed)))}")

    @classmethod
    def of(cls, settings: Settings[Any]) -> Self:
        """The question that a command asks."""
        answer = settings.answer
        return cls(settings.selection, answer.fed, answer.against, Budget.of(settings.budget))
