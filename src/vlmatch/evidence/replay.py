"""Replay: what a user would have lost by choosing with a rule from pools of encoders whose truth is known by now."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.special import comb

from vlmatch.evidence.correlation import spearman
from vlmatch.evidence.pools import Kind, Pools, draw_pools, family_draws, family_weights
from vlmatch.evidence.rules import Ingredient, Rule, fractional_ranks
from vlmatch.evidence.worlds import Floats, World

POOLS, RESAMPLES, POOLS_OF_A_RESAMPLE, CONFIDENCE = 10_000, 200, 200, 0.95
LEAST_POOLS = 100  # different ones; fewer are not a replay
FIRST = 3  # candidates that are looked at
TIE = 1e-9  # less than the smallest difference of two values of a rule


class Figure(NamedTuple):
    """A figure and its 95% interval, over families unless said otherwise; None where it is not known."""

    value: float | None
    low: float | None = None
    high: float | None = None


@dataclass(frozen=True)
class Outcome:
    """What choosing by one rule gave in replayed pools of one kind and size.

    regret: how far the pick's truth is below the best one's, in units of the truth. fraction: the same as a fraction of
    the regret of a random pick. first_three: how often the best, or one within a standard error of it, was among the
    first three.
    """

    rule: str
    kind: Kind
    size: int
    regret: Figure
    fraction: Figure
    first_three: Figure


@dataclass(frozen=True, eq=False)
class Drawn:
    """Drawn pools with what does not depend on a rule: the best truth, a random pick's regret, and lots for ties."""

    world: World
    pools: Pools
    lots: Floats
    ranks: dict[Ingredient, Floats]

    @classmethod
    def of(cls, world: World, pools: Pools, rng: np.random.Generator) -> "Drawn":
        """Draw the lots for these pools."""
        return cls(world, pools, rng.random(pools.shape), {})

    @cached_property
    def best(self) -> Floats:
        """The truth of each pool's best: chosen by one half of the seeds, valued by the other, both ways round: (m,).

        With one seed, this seed both chooses and values.
        """
        valued = []
        for chooser, judge in self.world.halves:
            at = chooser[self.pools].argmax(axis=1)
            valued.append(np.take_along_axis(judge[self.pools], at[:, None], axis=1)[:, 0])
        return np.mean(valued, axis=0)

    @cached_property
    def truths(self) -> Floats:
        """The mean truth of each candidate: (m, size)."""
        return self.world.mean_truth[self.pools]

    @cached_property
    def random_regret(self) -> Floats:
        """What a pick at random loses on average in each pool: (m,)."""
        return self.best - self.truths.mean(axis=1)

    @cached_property
    def good(self) -> NDArray[np.bool_]:
        """Which candidates are the best of their pool or within a standard error of it: (m, size)."""
        return self.truths >= self.truths.max(axis=1, keepdims=True) - self.world.standard_error

    def values(self, rule: Rule) -> Floats:
        """The rule's value of each candidate in its pool: (m, size)."""
        return np.mean([self._ranks(ingredient) for ingredient in rule.ingredients], axis=0)

    def order(self, rule: Rule) -> Pools:
        """Each pool's candidates from best to worst by the rule, as columns of `pools`; lots break ties: (m, size)."""
        return np.argsort(-(self.values(rule) + TIE * self.lots), axis=1)

    def outcome(self, order: Pools) -> Floats:
        """For each pool, the regret of the first in an order, and whether a good one is in the first three: (2, m)."""
        picked = np.take_along_axis(self.truths, order[:, :1], axis=1)[:, 0]
        found = np.take_along_axis(self.good, order[:, :FIRST], axis=1).any(axis=1)
        return np.stack([self.best - picked, found.astype(float)])

    def _ranks(self, ingredient: Ingredient) -> Floats:
        if ingredient not in self.ranks:
            values = self.world.values[ingredient.name][self.pools]
            self.ranks[ingredient] = fractional_ranks(values, ingredient.higher_is_better)
        return self.ranks[ingredient]


def known(world: World, rules: Sequence[Rule]) -> list[Rule]:
    """The rules for which the world has every ingredient."""
    return [rule for rule in rules if set(rule.needs) <= world.values.keys()]


def replay(world: World, rules: Sequence[Rule], kind: Kind, size: int, *, seed: int = 0) -> list[Outcome]:
    """Choose by each rule from 10,000 pools of one kind and size; the same pools for every rule.

    The first outcome, 'random', is a pick at random. The regret is measured from a best encoder that one half of the
    seeds chooses and the other half values. So training each candidate once has regret 0 if there are two seeds;
    `trained_once` says how much more it may be. Intervals come from 200 draws of families with replacement, of 200
    pools each; they are None if 5% of the draws or more have too few candidates. The list is empty if the world itself
    has fewer than 100 different pools of this kind and size.
    """
    rng = np.random.default_rng(seed)
    whole = drawn(world, kind, size, rng)
    if whole is None:
        return []
    again = resampled(world, kind, size, rng)
    return [_outcome(rule, kind, size, whole, again) for rule in (None, *known(world, rules))]


def trained_once(world: World, kind: Kind, size: int, *, seed: int = 0) -> Figure:
    """The most that training each candidate once may lose, as a fraction of a random pick's regret; None for one seed.

    One half of the seeds picks and the other values the pick, but the best is the highest mean of all seeds, which luck
    has raised. So the true regret is between 0 and this.
    """
    rng = np.random.default_rng(seed)
    whole = drawn(world, kind, size, rng)
    if whole is None or world.truth.shape[1] < 2:
        return Figure(None)

    def lost(pools: Drawn) -> tuple[Floats, Floats]:
        highest = pools.truths.max(axis=1)
        return highest - pools.best, highest - pools.truths.mean(axis=1)

    again = resampled(world, kind, size, rng)
    own, at_random = lost(whole)
    return Figure(float(own.mean() / at_random.mean()), *(_ratios(*lost(again)) if again else (None, None)))


def difference(world: World, rule: Rule, other: Rule, kind: Kind, size: int, *, seed: int = 0) -> Figure:
    """How much more `other` loses than `rule` in the same pools, as a fraction of a random pick's regret."""
    rng = np.random.default_rng(seed)
    whole = drawn(world, kind, size, rng)
    if whole is None:
        return Figure(None)

    def lost(pools: Drawn) -> Floats:
        more: Floats = pools.outcome(pools.order(other))[0] - pools.outcome(pools.order(rule))[0]
        return more

    again = resampled(world, kind, size, rng)
    value = float(lost(whole).mean() / whole.random_regret.mean())
    return Figure(value, *(_ratios(lost(again), again.random_regret) if again else (None, None)))


def drawn(
    world: World, kind: Kind, size: int, rng: np.random.Generator, count: int = POOLS, weights: Floats | None = None
) -> Drawn | None:
    """Pools of one kind and size, with `weights` as in `draw_pools`; None if fewer than 100 of them differ."""
    pools = draw_pools(world, kind, size, count, rng, weights)
    if pools is None or len(np.unique(np.sort(pools, axis=1), axis=0)) < LEAST_POOLS:
        return None
    return Drawn.of(world, pools, rng)


def resampled(world: World, kind: Kind, size: int, rng: np.random.Generator) -> Drawn | None:
    """Pools of 200 bootstraps over families, 200 of each in a row; None if 5% or more have too few candidates."""
    count = POOLS_OF_A_RESAMPLE
    draws = (draw_pools(world, kind, size, count, rng, family_weights(world.n_families, rng)) for _ in range(RESAMPLES))
    found = [pools for pools in draws if pools is not None]
    return Drawn.of(world, np.concatenate(found), rng) if len(found) > CONFIDENCE * RESAMPLES else None


def by_resample(figures: Floats) -> Floats:
    """The mean of a figure over the pools of each bootstrap of `resampled`."""
    means: Floats = figures.reshape(-1, POOLS_OF_A_RESAMPLE).mean(axis=1)
    return means


def interval(values: ArrayLike) -> tuple[float, float]:
    """The 95% percentile interval of bootstrapped figures."""
    low, high = np.quantile(np.asarray(values, dtype=float), [(1 - CONFIDENCE) / 2, (1 + CONFIDENCE) / 2])
    return float(low), float(high)


def rank_correlation(world: World, rule: Rule, *, seed: int = 0) -> Figure:
    """Spearman's correlation of a rule's value with the truth over all candidates; None if all values are equal."""
    goodness = rule.values({name: world.values[name] for name in rule.needs})
    found = []
    for rows in family_draws(world.families, RESAMPLES, np.random.default_rng(seed)):
        value = spearman(goodness[rows], world.mean_truth[rows])
        found += [] if value is None else [value]
    enough = len(found) > CONFIDENCE * RESAMPLES
    return Figure(spearman(goodness, world.mean_truth), *(interval(found) if enough else (None, None)))


def _outcome(rule: Rule | None, kind: Kind, size: int, whole: Drawn, again: Drawn | None) -> Outcome:
    regret, first = map(float, _measured(whole, rule).mean(axis=1))
    figures = regret, regret / float(whole.random_regret.mean()), first
    bounds: Sequence[tuple[float | None, float | None]] = [(None, None)] * 3
    if again is not None:
        lost, found = _measured(again, rule)
        bounds = [interval(by_resample(lost)), _ratios(lost, again.random_regret), interval(by_resample(found))]
    name = "random" if rule is None else rule.name
    return Outcome(name, kind, size, *(Figure(value, *ends) for value, ends in zip(figures, bounds, strict=True)))


def _measured(pools: Drawn, rule: Rule | None) -> Floats:
    """The regret of a rule (None: a random pick) in each pool, and whether its first three have a good one: (2, m)."""
    if rule is not None:
        return pools.outcome(pools.order(rule))
    size, good = pools.pools.shape[1], pools.good.sum(axis=1)
    return np.stack([pools.random_regret, 1 - comb(size - good, FIRST) / comb(size, FIRST)])


def _ratios(lost: Floats, at_random: Floats) -> tuple[float, float]:
    """The interval of the ratio of two means over pools."""
    return interval(by_resample(lost) / by_resample(at_random))
