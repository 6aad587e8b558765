"""Scores with their standard errors: of a benchmark, of groups of benchmarks, and the mean over groups."""

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
    """What m items earned in one benchmark, one entry an item in each array.

    items: their numbers among the measured ones. credit: what each earned. shuffled: what it earned with the next
    picture of its group in place of its own. clusters: items whose credits depend on each other have one number.
    sources: where each comes from. strata: the score is the mean over all items, by strata of a fixed size (sources);
    `balanced`: it is the mean over the strata's means (categories). chance: what guessing earns, exactly.
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
        """The mean credit with shuffled pictures."""
        return float(self._weights() @ self.shuffled)

    def by_source(self) -> dict[str, "ItemCredits"]:
        """The same of each source that has two clusters or more in it; balanced over categories with two items there.

        The chance is that of the whole; with `balanced` it is exact for the whole alone, whose categories are those
        that the model chose from.
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
        """How far each item moves the score, (m,): its weight times its distance from the mean of its stratum.

        The number of clusters g in a stratum corrects by g / (g - 1) in the variance. Where a stratum has one cluster,
        all are taken as one.
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
    """What a suite found of one VLM.

    composition: the benchmarks of each group of the mean. likelihoods: what all of it follows from, log-likelihoods in
    nats of 'captions' (n, n) and of 'categories' (n, k) by picture, NaN where they were not asked.
    """

    suite: results.SuiteId
    credits: Mapping[str, ItemCredits]
    composition: Mapping[str, Sequence[str]]
    likelihoods: Mapping[str, Array]

    @cached_property
    def benchmarks(self) -> dict[str, results.Benchmark]:
        """Each benchmark as it is reported."""
        return {name: _described(credits) for name, credits in self.credits.items()}

    @cached_property
    def groups(self) -> dict[str, results.Group]:
        """Each group's mean of (score - chance) / (1 - chance): 0 is chance, 1 is perfect."""
        return {
            group: results.Group(**asdict(self._combined(self._weighted(parts))), of=tuple(parts))
            for group, parts in self.composition.items()
        }

    @cached_property
    def mean(self) -> results.Estimate:
        """The truth: the mean over groups."""
        n = len(self.composition)
        return self._combined(
            [(b / n, name) for parts in self.composition.values() for b, name in self._weighted(parts)]
        )

    def keep(self, path: Path) -> None:
        """Write the likelihoods to an .npz in one step, in float32."""
        with renamed(path) as temporary, temporary.open("wb") as file:
            captions, categories = (self.likelihoods[name].astype(np.float32) for name in ("captions", "categories"))
            np.savez_compressed(file, captions=captions, categories=categories)

    def to_json(self) -> dict[str, Any]:
        """Plain values: suite, benchmarks, groups and mean."""
        return {
            "suite": asdict(self.suite),
            "benchmarks": {name: asdict(benchmark) for name, benchmark in self.benchmarks.items()},
            "groups": {name: {**asdict(group), "of": list(group.of)} for name, group in self.groups.items()},
            "mean": asdict(self.mean),
        }

    def _weighted(self, parts: Sequence[str]) -> list[tuple[float, str]]:
        """By how much a group's score moves with the score of each of its benchmarks."""
        return [(1 / (len(parts) * (1 - self.credits[name].chance)), name) for name in parts]

    def _combined(self, weighted: Sequence[tuple[float, str]]) -> results.Estimate:
        found = [(weight, self.credits[name]) for weight, name in weighted]
        return results.Estimate(sum(w * (one.score - one.chance) for w, one in found), standard_error(found))


def standard_error(parts: Sequence[tuple[float, ItemCredits]]) -> float:
    """The standard error of a weighted sum of scores, over items as they were drawn, by the delta method.

    Each item moves the sum by its influence in all benchmarks together. Influences of items that are in one cluster of
    any of the benchmarks may be dependent, and their products are summed: the sandwich estimator with several
    clusterings (Cameron, Gelbach and Miller, 2011). For one benchmark it is the standard error of the groups' means.
    """
    n = 1 + max(int(credits.items.max()) for _, credits in parts)
    moved = np.zeros(n)
    related = np.eye(n, dtype=bool)
    for weight, credits in parts:
        moved[credits.items] += weight * credits.influence()
        related[np.ix_(credits.items, credits.items)] |= credits.clusters[:, None] == credits.clusters
    return math.sqrt(max(0.0, float(moved @ related @ moved)))


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
