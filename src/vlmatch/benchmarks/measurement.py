"""Scores and their standard errors: of one benchmark, of a group of benchmarks, and the mean over groups."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from vlmatch import results
from vlmatch.files import renamed

Array = NDArray[np.float64]
Numbers = NDArray[np.int64]


@dataclass(frozen=True)
class ItemCredits:
    """What m items earned in one benchmark; each array has one entry for each item.

    items: the items' numbers among all measured items. credit: what each earned. shuffled: what it earned with the
    next picture of its group in place of its own. clusters: items whose credits depend on each other share a number.
    sources: the source of each item. strata: the stratum of each item; items were drawn within strata. balanced: the
    score is the mean over the strata's means; else it is the mean over all items. chance: the exact expected score
    of guessing.
    """

    items: Numbers
    credit: Array
    shuffled: Array
    clusters: Numbers
    sources: NDArray[np.str_]
    strata: NDArray[np.str_]
    chance: float
    balanced: bool = False

    @property
    def score(self) -> float:
        """The mean credit."""
        return float(self._weights() @ self.credit)

    @property
    def score_shuffled(self) -> float:
        """The score with shuffled pictures."""
        return float(self._weights() @ self.shuffled)

    def by_source(self) -> dict[str, "ItemCredits"]:
        """The credits of each source that has at least two clusters.

        If `balanced`, strata with one item of the source are left out. Each source gets the chance of all sources
        together. For `balanced` credits, that chance is not exact for one source, because the model chose from the
        categories of all sources.
        """
        found = {}
        for source in np.unique(self.sources):
            within = self.sources == source
            if self.balanced:
                names, counts = np.unique(self.strata[within], return_counts=True)
                within &= np.isin(self.strata, names[counts > 1])
            if len(np.unique(self.clusters[within])) > 1:
                found[str(source)] = self._only(within)
        return found

    def influence(self) -> Array:
        """How far each item moves the score, (m,): its weight times its difference from the mean of its stratum.

        The variance is corrected by g / (g - 1), where g is the number of clusters in the stratum. If any stratum has
        only one cluster, all items are taken as one stratum.
        """
        strata = self.strata
        if min(len(np.unique(self.clusters[strata == name])) for name in np.unique(strata)) < 2:
            strata = np.full_like(strata, "")
        moved = self._weights()
        for name in np.unique(strata):
            within = strata == name
            clusters = len(np.unique(self.clusters[within]))
            moved[within] *= (self.credit[within] - self.credit[within].mean()) * math.sqrt(clusters / (clusters - 1))
        return moved

    def _weights(self) -> Array:
        names, inverse, counts = np.unique(self.strata, return_inverse=True, return_counts=True)
        total = counts * len(names) if self.balanced else np.full(len(names), len(self.items))
        weights: Array = 1.0 / total[inverse]
        return weights

    def _only(self, within: NDArray[np.bool_]) -> "ItemCredits":
        arrays: dict[str, Any] = {
            name: value[within] for name, value in vars(self).items() if isinstance(value, np.ndarray)
        }
        return replace(self, **arrays)


@dataclass(frozen=True)
class Measurement:
    """The scores of one VLM in all benchmarks of a suite.

    credits: by benchmark. composition: the benchmarks of each group; the mean is over groups. likelihoods: the
    log-likelihoods in nats from which all scores follow, of 'captions' (n, n) and 'categories' (n, k) under each of n
    pictures; NaN where they were not asked. asked: columns of n entries that say what was asked about each item
    (`credits.AskedItems`).
    """

    suite: results.SuiteId
    credits: Mapping[str, ItemCredits]
    composition: Mapping[str, Sequence[str]]
    likelihoods: Mapping[str, Array]
    asked: Mapping[str, NDArray[Any]]

    @cached_property
    def benchmarks(self) -> dict[str, results.Benchmark]:
        """Each benchmark as a result stores it."""
        return {name: _described(credits) for name, credits in self.credits.items()}

    @cached_property
    def groups(self) -> dict[str, results.Group]:
        """Each group's mean of (score - chance) / (1 - chance) over its benchmarks: 0 is chance, 1 is perfect."""
        return {
            group: results.Group(**asdict(self._combined(self._weighted(parts))), of=tuple(parts))
            for group, parts in self.composition.items()
        }

    @cached_property
    def mean(self) -> results.Estimate:
        """The mean over groups: version 2 of the truth of one run."""
        n = len(self.composition)
        return self._combined(
            [(b / n, name) for parts in self.composition.values() for b, name in self._weighted(parts)]
        )

    def keep(self, path: Path) -> None:
        """Write the likelihoods, in float32, and what was asked to an .npz, atomically."""
        with renamed(path) as temporary, temporary.open("wb") as file:
            likelihoods = {name: values.astype(np.float32) for name, values in self.likelihoods.items()}
            kept: dict[str, Any] = {**likelihoods, **self.asked}
            np.savez_compressed(file, **kept)

    def to_json(self) -> dict[str, Any]:
        """Plain values: suite, benchmarks, groups and mean."""
        return {
            "suite": asdict(self.suite),
            "benchmarks": {name: asdict(benchmark) for name, benchmark in self.benchmarks.items()},
            "groups": {name: {**asdict(group), "of": list(group.of)} for name, group in self.groups.items()},
            "mean": asdict(self.mean),
        }

    def _weighted(self, parts: Sequence[str]) -> list[tuple[float, str]]:
        """The weight of each benchmark's score in the score of their group."""
        return [(1 / (len(parts) * (1 - self.credits[name].chance)), name) for name in parts]

    def _combined(self, weighted: Sequence[tuple[float, str]]) -> results.Estimate:
        found = [(weight, self.credits[name]) for weight, name in weighted]
        return results.Estimate(sum(w * (one.score - one.chance) for w, one in found), standard_error(found))


@dataclass(frozen=True)
class Influence:
    """How far each of n items moves a weighted sum of scores.

    moved: (n,). related: (n, n), whether two items' influences may depend on each other.
    """

    moved: Array
    related: NDArray[np.bool_]

    @property
    def standard_error(self) -> float:
        """The standard error of the sum, over the drawing of items, by the delta method.

        The products of the influences of related items are summed: the sandwich estimator with several clusterings
        (Cameron, Gelbach and Miller, 2011). For one benchmark, this is the standard error of the mean over its
        clusters.
        """
        return math.sqrt(max(0.0, float(self.moved @ self.related @ self.moved)))

    def __sub__(self, other: "Influence") -> "Influence":
        """The influence on the difference of two sums over the same items."""
        return Influence(self.moved - other.moved, self.related | other.related)


def influence(parts: Sequence[tuple[float, ItemCredits]]) -> Influence:
    """The influence of each item on a weighted sum of scores: its influence in all benchmarks together.

    Items are related if they share a cluster in any benchmark.
    """
    n = 1 + max(int(credits.items.max()) for _, credits in parts)
    moved = np.zeros(n)
    related = np.eye(n, dtype=bool)
    for weight, credits in parts:
        moved[credits.items] += weight * credits.influence()
        related[np.ix_(credits.items, credits.items)] |= credits.clusters[:, None] == credits.clusters
    return Influence(moved, related)


def standard_error(parts: Sequence[tuple[float, ItemCredits]]) -> float:
    """The standard error of a weighted sum of scores, over the drawing of items (`Influence.standard_error`)."""
    return influence(parts).standard_error


def _described(credits: ItemCredits) -> results.Benchmark:
    by_source = {
        source: results.SourceEstimate(part.score, standard_error([(1.0, part)]), len(part.items))
        for source, part in credits.by_source().items()
    }
    return results.Benchmark(
        credits.score,
        standard_error([(1.0, credits)]),
        chance=credits.chance,
        shuffled=credits.score_shuffled,
        n=len(credits.items),
        by_source=by_source,
    )
