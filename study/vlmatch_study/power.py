"""The smallest effects that a block of trainings can show, before it is trained.

A truth is the mean over seeds of the benchmarks' mean. Its error has two parts, both given as standard deviations.
`seed_sd` is the deviation between seeds; its part gets smaller with more seeds. `item_se` is the error from the choice
of items; its part does not, because all seeds are asked about the same items. An effect counts as shown if studies find
it at the 5% level in `POWER` of all cases.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import brentq
from scipy.stats import nct, norm, rankdata
from scipy.stats import t as student

LEVEL, POWER = 0.05, 0.8
STUDIES = 4_000  # simulated ones
_STEPS = 12  # halvings of an interval: to a 4,000th of it

Array = NDArray[np.float64]


@dataclass(frozen=True)
class Errors:
    """The sources of a truth's error."""

    seeds: int
    seed_sd: float
    item_se: float

    @property
    def of_truth(self) -> float:
        """The standard error of one truth."""
        return math.sqrt(self.seed_sd**2 / self.seeds + self.item_se**2)


def smallest_difference(n: int, errors: Errors, varies: float = 0.0) -> float:
    """The smallest mean difference between two variants of n encoders that a paired t test shows.

    varies: how much the true differences vary from encoder to encoder, as a standard deviation.
    """
    spread = math.sqrt(2 * errors.of_truth**2 + varies**2) / math.sqrt(n)
    critical = student.ppf(1 - LEVEL / 2, n - 1)

    def lacking(shift: float) -> float:
        return float(nct.sf(critical, n - 1, shift)) - POWER  # shown with the right sign

    return spread * float(brentq(lacking, 0, 40))


def smallest_effect(n: int, errors: Errors, spread: float, seed: int = 0) -> float | None:
    """The smallest correlation of a score with the exact truth that is shown by Spearman's correlation over n variants.

    None if not even a correlation of 1 is shown.
    spread: the standard deviation of the exact truths between variants. Scores and exact truths are drawn from a normal
    distribution of two variables.
    """
    random = np.random.default_rng(seed)
    score, rest, error = random.standard_normal((3, STUDIES, n))
    critical = float(np.quantile(np.abs(spearmans(score, rest)), 1 - LEVEL))

    def power(correlation: float) -> float:
        exact = correlation * score + math.sqrt(1 - correlation**2) * rest
        return float((spearmans(score, spread * exact + errors.of_truth * error) > critical).mean())

    return _smallest(power, POWER)


def smallest_spread(followed: Sequence[float], other: Sequence[float], errors: Errors, seed: int = 0) -> float | None:
    """The smallest spread of the exact truths at which the score that they follow beats another one; None if above 1.

    A score beats another one in a study if its Spearman's correlation with the measured truths is larger. This must
    happen in 1 - LEVEL of all studies. followed, other: the two scores of the same variants; higher is better. The
    exact truths are normal and have the same order as `followed`.
    """
    n = len(followed)
    ordered = norm.ppf((rankdata(followed) - 0.5) / n)
    exact = (ordered - ordered.mean()) / ordered.std()
    error = np.random.default_rng(seed).standard_normal((STUDIES, n))

    def beats(spread: float) -> float:
        truth = spread * exact + errors.of_truth * error
        right, wrong = (
            spearmans(np.broadcast_to(np.asarray(each, float), truth.shape), truth) for each in (followed, other)
        )
        return float((right > wrong).mean())

    return _smallest(beats, 1 - LEVEL)


def spearmans(left: Array, right: Array) -> Array:
    """Spearman's correlation in each of m studies of n variants: (m, n), (m, n) -> (m,)."""
    ranks = [rankdata(each, axis=1) for each in (left, right)]
    a, b = (each - each.mean(axis=1, keepdims=True) for each in ranks)
    found: Array = (a * b).sum(axis=1) / np.sqrt((a**2).sum(axis=1) * (b**2).sum(axis=1))
    return found


def _smallest(share: Callable[[float], float], wanted: float) -> float | None:
    """The smallest value from 0 to 1 at which a rising share of studies is at least `wanted`; None: above 1."""
    if share(1.0) < wanted:
        return None
    low, high = 0.0, 1.0
    for _ in range(_STEPS):
        middle = (low + high) / 2
        low, high = (low, middle) if share(middle) >= wanted else (middle, high)
    return high
