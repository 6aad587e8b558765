"""What a budget excludes from a pool, and what that costs."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from vlmatch.costs import Budget, cost_of
from vlmatch.ranking.shortlist import Standing
from vlmatch.scores.rows import Row


@dataclass(frozen=True)
class Cut:
    """What a budget excludes.

    excluded: by encoder, why it does not meet the budget. ahead: excluded candidates that stand ahead of the best one
    inside, best first; all excluded ones where nothing is inside. lost: by how much the rule's value of the first
    candidate exceeds that of the best one inside; None where nothing is inside.
    """

    budget: Budget
    excluded: Mapping[str, str]
    ahead: tuple[str, ...]
    lost: float | None


def cut(standings: Sequence[Standing], rows: Sequence[Row], budget: Budget) -> Cut | None:
    """Hold the candidates, given best first, against a budget; None where it limits nothing."""
    if not budget.limits:
        return None
    by_encoder = {row.encoder: row for row in rows}
    reasons = {each.encoder: budget.excludes(cost_of(by_encoder[each.encoder])) for each in standings}
    excluded = {encoder: why for encoder, why in reasons.items() if why is not None}
    inside = [index for index, each in enumerate(standings) if each.encoder not in excluded]
    ahead = tuple(each.encoder for each in standings[: inside[0] if inside else None])
    lost = standings[0].value - standings[inside[0]].value if inside else None
    return Cut(budget, excluded, ahead, lost)
