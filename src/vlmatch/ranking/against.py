"""Whether each candidate is better than the encoder that the user has now, as far as the evidence can say."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from vlmatch.errors import VlmatchError, enumerated
from vlmatch.ranking.shortlist import ROUNDING, Standing

Judgement = Literal["better", "worse", "unclear"]


@dataclass(frozen=True)
class Versus:
    """One candidate beside the encoder that the user has now."""

    encoder: str
    judgement: Judgement


def versus(current: str, standings: Sequence[Standing], margin: float | None) -> tuple[Versus, ...]:
    """Judge every other candidate against `current`, in the order given.

    margin: the smallest distance by the rule at which 90% of replayed pairs of encoders were in the right order; None
    if no distance was enough, and then every judgement is 'unclear'.

    Raises VlmatchError if `current` is not among the candidates.
    """
    own = next((each for each in standings if each.encoder == current), None)
    if own is None:
        names = enumerated([each.encoder for each in standings])
        raise VlmatchError(f"answer.against={current} is not among the candidates ({names}); add it to the pool")
    return tuple(Versus(each.encoder, _judged(own, each, margin)) for each in standings if each is not own)


def _judged(own: Standing, other: Standing, margin: float | None) -> Judgement:
    if margin is None or abs(other.value - own.value) < other.reach(own, margin) - ROUNDING:
        return "unclear"
    return "better" if other.value > own.value else "worse"
