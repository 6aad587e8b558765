"""Shortlists: how far below the first a list must reach so that 90% of replayed lists held the best candidate."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

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

    margin: the list is every candidate whose value is at least the first's minus this. coverage: how often such a list
    held the best, or one within a standard error of it. held_out: the same when margin and coverage come from different
    halves of the families; None where halves are too small. length: the list's mean length. top_k: the coverage of a
    plain list of as many names in every pool. difference: the smallest difference of two values such that in 90% of the
    replayed pairs with at least that difference, the one of the higher value was better; None if there is none.
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


def calibrate(world: World, rule: Rule, kind: Kind, size: int, *, seed: int = 0) -> Calibration | None:
    """The shortlist's margin for one kind and size of pools; None if the world has under 100 different ones.

    The interval of the coverage is over families, with the margin as it is.
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
    """How far below the first the best-valued good candidate of each pool is: (m,)."""
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
    """The smallest difference in value from which on 90% of the pairs are in the order of their truths.

    None if there is none that at least 100 of the replayed pairs reach.
    """
    one, other = np.triu_indices(pools.pools.shape[1], 1)
    values, truths = pools.values(rule), pools.truths
    difference = (values[:, one] - values[:, other]).ravel()
    right = (np.sign(difference) * (truths[:, one] - truths[:, other]).ravel()) > 0
    steps = np.round(np.abs(difference), 9)
    by_step = np.argsort(-steps, kind="stable")
    steps, hits = steps[by_step], np.cumsum(right[by_step])
    # Only the last pair of each step counts: the share is over all pairs that reach it.
    last = np.append(steps[1:] < steps[:-1], True) & (steps > 0) & (np.arange(1, len(steps) + 1) >= LEAST_PAIRS)
    enough = last & (hits / np.arange(1, len(steps) + 1) >= COVERAGE)
    return float(steps[enough].min()) if enough.any() else None


def _of_top(pools: Drawn, rule: Rule, length: float) -> float:
    """The coverage of the first `length` names; between two whole lengths, lists of both are mixed."""
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
