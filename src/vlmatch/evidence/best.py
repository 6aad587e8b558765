"""The pooled standard error of the difference of two truths: encoders within it of the best count as good as it."""

from itertools import combinations
from math import sqrt
from statistics import fmean

from vlmatch.errors import VlmatchError
from vlmatch.evidence.truths import Comparison


def pooled_error(comparison: Comparison, n_seeds: int | None = None) -> float:
    """The standard error of the difference of two pretrained encoders' truths, pooled over all pairs of them.

    sqrt(items + 2 s^2 / n_seeds). items: the squared standard error over items, averaged over the pairs of encoders
    that both have stored likelihoods, so that items are paired; over all pairs if there are none. s: the pooled
    deviation between seeds.

    n_seeds: the number of seeds in each truth; None: all seeds of the comparison. For fewer seeds, the items' part is
    slightly too small.

    Raises VlmatchError for fewer than two pretrained encoders.
    """
    pairs = list(combinations(comparison.pretrained, 2))
    if not pairs:
        raise VlmatchError("the pooled standard error needs two or more pretrained encoders with a truth")
    paired = [pair for pair in pairs if pair[0].paired_with(pair[1])]
    items = fmean(one.item_error_of_difference(other) ** 2 for one, other in paired or pairs)
    seeds = len(comparison.seeds) if n_seeds is None else n_seeds
    return sqrt(items + 2 * (comparison.between_seeds or 0.0) ** 2 / seeds)
