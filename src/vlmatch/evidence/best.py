"""Which encoders are as good as the best: all that stand within one pooled standard error of it."""

from collections.abc import Collection, Mapping
from itertools import combinations
from math import sqrt
from statistics import fmean

from vlmatch.errors import VlmatchError
from vlmatch.evidence.truths import Comparison


def pooled_error(comparison: Comparison, n_seeds: int | None = None) -> float:
    """The standard error of the difference of two pretrained encoders' truths, pooled over all pairs of them.

    sqrt(items + 2 s^2 / n_seeds). items: the mean squared error over items, over the pairs whose likelihoods are both
    stored, so that items are paired; if there are none, over all pairs. s: the pooled deviation between seeds.

    n_seeds: in each of the two truths; None: all seeds of the comparison. For fewer, the items' part is slightly too
    small.

    Raises VlmatchError for fewer than two pretrained encoders.
    """
    pairs = list(combinations(comparison.pretrained, 2))
    if not pairs:
        raise VlmatchError("the pooled standard error needs two or more pretrained encoders with a truth")
    paired = [pair for pair in pairs if pair[0].paired_with(pair[1])]
    items = fmean(one.item_error_of_difference(other) ** 2 for one, other in paired or pairs)
    seeds = len(comparison.seeds) if n_seeds is None else n_seeds
    return sqrt(items + 2 * (comparison.between_seeds or 0.0) ** 2 / seeds)


def among_best(truths: Mapping[str, float], error: float) -> frozenset[str]:
    """The best encoder, and every encoder at most `error` below it. truths: by encoder, not empty."""
    best = max(truths.values())
    return frozenset(encoder for encoder, truth in truths.items() if truth >= best - error)


def best_of(comparison: Comparison, encoders: Collection[str]) -> frozenset[str]:
    """The best of `encoders` by truth, and every other within one standard error of the difference to it.

    Raises VlmatchError if none of them has a truth.
    """
    found = [truth for truth in comparison.truths if truth.encoder in encoders]
    if not found:
        raise VlmatchError(f"encoders={sorted(encoders)}: none has a truth; give others, or train with them")
    best = found[0]
    return frozenset(
        truth.encoder for truth in found if truth is best or best.mean - truth.mean <= best.error_of_difference(truth)
    )
