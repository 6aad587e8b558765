"""Shortlists: how far below its first candidate a list must reach, so that 90% of replayed lists hold the best one."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import isotonic_regression

from vlmatch.evidence.pools import Kind, halved_families
from vlmatch.evidence.replay import TIE, Drawn, Figure, by_resample, drawn, interval, resampled
from vlmatch.evidence.rules import Rule
from vlmatch.evidence.worlds import Floats, World

COVERAGE = 0.9
SPLITS, POOLS_OF_A_SPLIT = 100, 500
LEAST_PAIRS = 100  # replayed pairs of candidates; fewer prove no difference


@dataclass(frozen=True)
class Calibration:
    """How long a rule's list must be, for pools of one kind and size.

    margin: a list has every candidate whose value is at most this far below the first's. coverage: how often such a
    list held the best, or one within a standard error of it. held_out: the same if margin and coverage come from
    different halves of the families; None if the halves are too small. length: the lists' mean length. top_k: the
    coverage of lists that have this length in every pool. difference: the smallest difference of two values at which,
    in 90% of the replayed pairs, the candidate with the higher value was better; None if there is none.
    """

    rule: str
    kind: Kind
    size: int
    margin: float
    coverage: Figure
    held_out: Figure
    length: float
    top_k: float
    difference: float | None

    @property
    def coverage_for_new(self) -> Figure:
        """The coverage to expect on new families: the held-out one, or `coverage` if that is not known."""
        return self.coverage if self.held_out.value is None else self.held_out


def calibrate(world: World, rule: Rule, kind: Kind, size: int, *, seed: int = 0) -> Calibration | None:
    """The shortlist's margin for one kind and size of pools; None if the world has under 100 different ones.

    The interval of the coverage is over families, with a fixed margin.
    """
    rng = np.random.default_rng(seed)
    whole = drawn(world, kind, size, rng)
    if whole is None:
        return None
    gaps, values = gaps_to_good(whole, rule), whole.values(rule)
    margin = least_margin(gaps)
    length = float((values >= values.max(axis=1, keepdims=True) - margin - TIE).sum(axis=1).mean())
    again = resampled(world, kind, size, rng)
    return Calibration(
        rule.name,
        kind,
        size,
        margin,
        coverage(whole, again, rule, margin),
        _held_out(world, rule, kind, size, rng),
        length,
        _of_top(whole, rule, length),
        least_difference(whole, rule),
    )


def coverage(whole: Drawn, again: Drawn | None, rule: Rule, margin: float) -> Figure:
    """How often lists of this margin hold a good candidate, with its interval over the bootstraps of `resampled`."""
    value = float(covered(gaps_to_good(whole, rule), margin).mean())
    return Figure(
        value, *(interval(by_resample(covered(gaps_to_good(again, rule), margin))) if again else (None, None))
    )


def gaps_to_good(pools: Drawn, rule: Rule) -> Floats:
    """How far, in each pool, the highest value of a good candidate is below the highest value of all: (m,)."""
    values = pools.values(rule)
    gaps: Floats = values.max(axis=1) - np.where(pools.good, values, -np.inf).max(axis=1)
    return gaps


def least_margin(gaps: Floats) -> float:
    """The smallest margin that covers 90% of the pools."""
    return float(np.quantile(gaps, COVERAGE, method="inverted_cdf"))


def covered(gaps: Floats, margin: float) -> Floats:
    """1 for each pool whose list holds a good candidate, else 0."""
    return (gaps <= margin + TIE).astype(float)


def least_difference(pools: Drawn, rule: Rule) -> float | None:
    """The smallest difference in value at which 90% of the pairs are in the order of their truths.

    An isotonic regression over all replayed pairs fits the share of right orders as rising with the difference. Only a
    difference that at least 100 replayed pairs have or exceed counts. None if no such difference reaches 90%.
    """
    one, other = np.triu_indices(pools.pools.shape[1], 1)
    values, truths = pools.values(rule), pools.truths
    difference = (values[:, one] - values[:, other]).ravel()
    differ = np.abs(difference) > TIE  # equal values have no order
    right = (np.sign(difference) * (truths[:, one] - truths[:, other]).ravel() > 0)[differ]
    steps, at, counts = np.unique(np.round(np.abs(difference[differ]), 9), return_inverse=True, return_counts=True)
    if len(steps) == 0:
        return None
    fitted = isotonic_regression(np.bincount(at, right) / counts, weights=counts).x
    enough = (fitted >= COVERAGE) & (np.cumsum(counts[::-1])[::-1] >= LEAST_PAIRS)
    return float(steps[enough].min()) if enough.any() else None


def _of_top(pools: Drawn, rule: Rule, length: float) -> float:
    """The coverage of the first `length` names, interpolated between whole lengths."""
    good = np.take_along_axis(pools.good, pools.order(rule), axis=1)
    held: NDArray[np.float64] = np.logical_or.accumulate(good, axis=1).mean(axis=0)
    return float(np.interp(length, np.arange(1, len(held) + 1), held))


def _held_out(world: World, rule: Rule, kind: Kind, size: int, rng: np.random.Generator) -> Figure:
    """The coverage in pools of one half of the families with the margin of the other half."""
    found = []
    for _ in range(SPLITS):
        parts = halved_families(world, size + 2, rng)
        if parts is None:
            return Figure(None)
        halves = [drawn(world, kind, size, rng, POOLS_OF_A_SPLIT, weights) for weights in parts]
        if halves[0] is None or halves[1] is None:
            continue
        margin = least_margin(gaps_to_good(halves[0], rule))
        found.append(float(covered(gaps_to_good(halves[1], rule), margin).mean()))
    return Figure(float(np.mean(found)), *interval(found)) if len(found) > SPLITS / 2 else Figure(None)
