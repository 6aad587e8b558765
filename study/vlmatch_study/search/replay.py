"""Replay of searches: what each way of spending trainings loses in pools of encoders whose curves are known."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.cluster.hierarchy import linkage
from scipy.spatial.distance import squareform

from vlmatch.errors import VlmatchError
from vlmatch.evidence.pools import Kind, Pools
from vlmatch.evidence.replay import TIE, Drawn, Figure, by_resample, drawn, interval, resampled
from vlmatch.evidence.rules import Rule
from vlmatch.evidence.worlds import Floats, World
from vlmatch.search.halving import ROUNDING, Ladder, Level, Race

Flags = NDArray[np.bool_]
Integers = NDArray[np.intp]


@dataclass(frozen=True, eq=False)
class Courses:
    """A world with the learning curves of its candidates.

    values: (n, seeds, rungs), the last rung being the truth. similarity: (n, n), how alike two candidates' embeddings
    are, from 0 to 1 (CKA); None if it is not known.
    """

    world: World
    values: Floats
    similarity: Floats | None = None

    @classmethod
    def of(cls, world: World, earlier: Floats, similarity: Floats | None = None) -> "Courses":
        """Add the values at the earlier rungs, (n, seeds, rungs - 1), to a world.

        Raises VlmatchError if a shape is wrong, or a value is missing or not finite.
        """
        wanted = world.truth.shape
        if earlier.ndim != 3 or earlier.shape[:2] != wanted or not np.isfinite(earlier).all():
            raise VlmatchError(
                f"world '{world.name}': learning curves have shape {earlier.shape}; wanted finite values of shape "
                f"({wanted[0]}, {wanted[1]}, rungs), one for each candidate and seed"
            )
        if similarity is not None and similarity.shape != (wanted[0], wanted[0]):
            raise VlmatchError(
                f"world '{world.name}': similarities have shape {similarity.shape}; wanted {wanted[0]} x {wanted[0]}"
            )
        return cls(world, np.concatenate([earlier, world.truth[:, :, None]], axis=2), similarity)

    @property
    def halves(self) -> Iterator[tuple[Floats, Floats]]:
        """The curves (n, rungs) by one half of the seeds with the truth (n,) by the other half, then the reverse."""
        seeds = self.values.shape[1]
        if seeds == 1:
            yield self.values[:, 0], self.world.mean_truth
            return
        first, second = self.values[:, : seeds // 2].mean(axis=1), self.values[:, seeds // 2 :].mean(axis=1)
        yield first, second[:, -1]
        yield second, first[:, -1]


@dataclass(frozen=True)
class Spent:
    """What one way of spending gave in pools of one kind and size.

    size: of the pools. budget: how many candidates it started with, how many clusters, or how many trainings it had.
    cost: in whole trainings, a mean over pools. regret: by how much its pick is worse than grid search's, in units of
    the truth. fraction: the same as a fraction of what a random pick loses. Intervals are over families.
    """

    way: str
    kind: Kind
    size: int
    budget: int
    cost: float
    regret: Figure
    fraction: Figure


Spend = Callable[[Drawn, Floats], tuple[Integers, Floats]]
"""Picks from each pool by the curves (n, rungs) of all candidates: the places (m,) in the pools, and the costs (m,)."""


def whole(order: Callable[[Drawn], Pools], count: int) -> Spend:
    """Train the first `count` of each pool to the end, and take the best. order: places from first to last."""

    def spend(pools: Drawn, curves: Floats) -> tuple[Integers, Floats]:
        listed = order(pools)[:, :count]
        values = curves[np.take_along_axis(pools.pools, listed, axis=1), -1]
        return _chosen(listed, values.argmax(axis=1)), np.full(len(listed), float(count))

    return spend


def halving(order: Callable[[Drawn], Pools], count: int, ladder: Ladder, keep: float) -> Spend:
    """Race the first `count` of each pool by successive halving: the part `keep` goes on from each rung."""

    def spend(pools: Drawn, curves: Floats) -> tuple[Integers, Floats]:
        listed = order(pools)[:, :count]
        values = curves[np.take_along_axis(pools.pools, listed, axis=1)]
        levels = list(ladder.levels(count, keep))
        return _chosen(listed, by_levels(values, levels)), np.full(len(listed), sum(level.cost for level in levels))

    return spend


def searching(rule: Rule, margin: float, ladder: Ladder, budget: float) -> Spend:
    """Spend as task=search does: race the shortlist of each pool, as many at each rung as the budget pays for.

    margin: the shortlist's (`evidence.shortlists.Calibration`). budget: in whole trainings.
    """

    def spend(pools: Drawn, curves: Floats) -> tuple[Integers, Floats]:
        order, known = pools.order(rule), pools.values(rule)
        lengths = (known >= known.max(axis=1, keepdims=True) - margin - TIE).sum(axis=1)
        picks, costs = np.empty(len(order), dtype=np.intp), np.empty(len(order))
        for length in np.unique(lengths):
            here = lengths == length
            race = Race(tuple(map(str, range(length))), ladder)
            levels = race.plan(lambda cost: cost <= budget + ROUNDING)
            listed = order[here, : levels[0].arms]
            values = curves[np.take_along_axis(pools.pools[here], listed, axis=1)]
            picks[here] = _chosen(listed, by_levels(values, levels))
            costs[here] = sum(level.cost for level in levels)
        return picks, costs

    return spend


def by_levels(values: Floats, levels: Sequence[Level]) -> Integers:
    """The winners (m,) of races by values (m, k, rungs). levels: how many are trained up to each rung.

    Of equal candidates, the first goes on.
    """
    alive = np.ones(values.shape[:2], dtype=bool)
    order: Integers = np.zeros(values.shape[:2], dtype=np.intp)
    for number, level in enumerate(levels):
        if number > 0:
            alive &= np.argsort(order, axis=1) < level.arms
        order = np.argsort(np.where(alive, -values[:, :, level.rung], np.inf), axis=1, kind="stable")
    return order[:, 0]


def clusters(courses: Courses, count: int, ladder: Ladder, keep: float) -> Spend:
    """In the manner of Mordal (He et al., 2025): clusters of similar encoders, early stopping between and inside them.

    Each pool is divided into `count` clusters by average linkage of 1 - CKA. The medoids race by halving. Then the
    other members of the winner's cluster race, and the better of both winners is picked. Mordal also predicts the end
    of a training from its course; here, halving replaces this.
    """
    similarity = courses.similarity
    if similarity is None:
        raise VlmatchError(f"world '{courses.world.name}' has no similarities of its candidates; give them to Courses")
    known: dict[Drawn, Integers] = {}  # both halves of the seeds are replayed in the same pools

    def spend(pools: Drawn, curves: Floats) -> tuple[Integers, Floats]:
        if pools not in known:
            known[pools] = np.array([divided(similarity[np.ix_(pool, pool)], count) for pool in pools.pools])
        labels, values = known[pools], curves[pools.pools]
        medoids = medoids_of(similarity, pools.pools, labels)
        first, costs = halved(values, medoids, ladder, keep)
        others = (labels == _chosen(labels, first)[:, None]) & (np.arange(labels.shape[1]) != first[:, None])
        second, more = halved(values, others, ladder, keep)
        at_end = values[:, :, -1]
        better = others.any(axis=1) & (_chosen(at_end, second) > _chosen(at_end, first))
        return np.where(better, second, first), costs + more

    return spend


def halved(values: Floats, started: Flags, ladder: Ladder, keep: float) -> tuple[Integers, Floats]:
    """Race the candidates that are `started` (m, k) by their values (m, k, rungs): the winners' places and the costs.

    Like `halving` with a continuing ladder. A pool in which none is started costs nothing.
    """
    alive, before = started.copy(), -1
    costs = np.zeros(len(values))
    for rung in range(ladder.last + 1):
        counts = alive.sum(axis=1)
        costs += counts * ladder.cost(rung, before)
        order = np.argsort(np.where(alive, -values[:, :, rung], np.inf), axis=1, kind="stable")
        if rung == ladder.last:
            break
        kept = np.ceil(keep * counts - ROUNDING)
        places = np.argsort(order, axis=1)
        alive &= places < kept[:, None]
        before = rung
    return order[:, 0], costs


def divided(similarity: Floats, count: int) -> Integers:
    """The cluster of each of k candidates, when average linkage of 1 - similarity (k, k) is cut to `count` clusters."""
    k = len(similarity)
    labels = np.arange(k)
    if count >= k:
        return labels
    merges = linkage(squareform(1 - similarity, checks=False), "average")
    members = {place: [place] for place in range(k)}
    for number, (one, other) in enumerate(merges[: k - count, :2].astype(int)):
        members[k + number] = members.pop(one) + members.pop(other)
        labels[members[k + number]] = k + number
    return labels


def medoids_of(similarity: Floats, pools: Pools, labels: Integers) -> Flags:
    """Whether each candidate is the most similar one to the others of its cluster; the first of equals: (m, k)."""
    same = labels[:, :, None] == labels[:, None, :]
    closeness = np.where(same, similarity[pools[:, :, None], pools[:, None, :]], 0.0).sum(axis=2)
    highest = np.where(same, closeness[:, None, :], -np.inf)
    medoids: Flags = highest.argmax(axis=2) == np.arange(labels.shape[1])
    return medoids


def by_rule(rule: Rule) -> Callable[[Drawn], Pools]:
    """The order of each pool by a rule, best first."""
    return lambda pools: pools.order(rule)


def at_random(pools: Drawn) -> Pools:
    """An order of each pool by lot."""
    return np.argsort(pools.lots, axis=1)


def replayed(
    courses: Courses, ways: Sequence[tuple[str, int, Spend]], kind: Kind, size: int, *, seed: int = 0
) -> list[Spent]:
    """What each way of spending gives in 10,000 pools of one kind and size, the same ones for all ways.

    ways: for each its name, its `Spent.budget`, and the way itself. A search sees one half of the
    seeds. The other half gives the truth of its pick and of grid search's, which trains every candidate to the end.
    Intervals as in `evidence.replay.replay`. Empty if the world has too few different pools.
    """
    rng = np.random.default_rng(seed)
    world = courses.world
    pools = drawn(world, kind, size, rng)
    if pools is None:
        return []
    again = resampled(world, kind, size, rng)
    return [_spent(courses, way, kind, size, pools, again) for way in ways]


def _spent(
    courses: Courses, way: tuple[str, int, Spend], kind: Kind, size: int, pools: Drawn, again: Drawn | None
) -> Spent:
    name, budget, spend = way
    lost, costs = _lost(courses, spend, pools)
    regret, at_chance = float(lost.mean()), float(pools.random_regret.mean())
    bounds: list[tuple[float | None, float | None]] = [(None, None)] * 2
    if again is not None:
        others, _ = _lost(courses, spend, again)
        means, chances = by_resample(others), by_resample(again.random_regret)
        bounds = [interval(means), interval(means / chances)]
    figures = Figure(regret, *bounds[0]), Figure(regret / at_chance, *bounds[1])
    return Spent(name, kind, size, budget, float(costs.mean()), *figures)


def _lost(courses: Courses, spend: Spend, pools: Drawn) -> tuple[Floats, Floats]:
    """By how much the pick of each pool is worse than grid search's, over both halves of the seeds; and the costs."""
    lost, costs = [], []
    for curves, truth in courses.halves:
        picks, cost = spend(pools, curves)
        grid = curves[pools.pools, -1].argmax(axis=1)
        lost.append(truth[_chosen(pools.pools, grid)] - truth[_chosen(pools.pools, picks)])
        costs.append(cost)
    return np.mean(lost, axis=0), np.mean(costs, axis=0)


def _chosen(table: NDArray[Any], places: Integers) -> NDArray[Any]:
    """From each row of a table (m, k) the entry at a place: (m,)."""
    return np.take_along_axis(table, places[:, None], axis=1)[:, 0]
