"""What the truth is made of: the scores of a result that are averaged and their scale, for each suite and version.

A definition is applied when results are read. The results themselves stay as they were measured.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from statistics import fmean
from typing import Protocol

from vlmatch.errors import VlmatchError
from vlmatch.results import Benchmark, Estimate, Group, Result, SuiteId

BLIND_NATS = 4.97
"""The blind model's loss on an answer, in nats a token: the mean of `loss` in its two results, 4.875 and 5.060."""


class BenchmarkScores(Protocol):
    """What a truth is made of: the scores of a result, or of one measurement during a training."""

    @property
    def suite(self) -> SuiteId:
        """The suite of benchmarks."""

    @property
    def benchmarks(self) -> Mapping[str, Benchmark]:
        """The benchmarks by name."""

    @property
    def groups(self) -> Mapping[str, Group]:
        """The groups by name."""

    @property
    def mean(self) -> Estimate:
        """The mean over groups."""


@dataclass(frozen=True)
class Part:
    """A part of the truth: the mean over the benchmarks `of` of (score - chance) / scale.

    scale: None: 1 - chance, so that 1 is perfect. For a score without a best value, a constant.
    """

    name: str
    of: tuple[str, ...]
    scale: float | None = None

    def value(self, run: BenchmarkScores) -> float:
        """The part's value in one run."""
        return fmean(self.above(run.benchmarks[name], run.benchmarks[name].score) for name in self.of)

    def estimate(self, run: Result) -> Estimate:
        """The part's value in one run, with its standard error over items.

        If the result has a group of the same benchmarks, the error is the one that it stores. Otherwise it is an upper
        bound, which takes the errors of the benchmarks as perfectly correlated.
        """
        for group in run.groups.values():
            if self.scale is None and group.of == self.of:
                return Estimate(group.score, group.standard_error)
        errors = (weight * run.benchmarks[name].standard_error for name, weight in self.weights(run).items())
        return Estimate(self.value(run), sum(errors))

    def weights(self, run: Result) -> dict[str, float]:
        """The weight of each benchmark's score in the part's value."""
        return {name: 1 / (len(self.of) * self._scale(run.benchmarks[name])) for name in self.of}

    def of_source(self, run: Result, source: str) -> float | None:
        """The part's value over the items of one source of pictures; None if it has none."""
        asked = [run.benchmarks[name] for name in self.of if source in run.benchmarks[name].by_source]
        found = [self.above(each, each.by_source[source].score) for each in asked if each.chance is not None]
        return fmean(found) if found else None

    def above(self, benchmark: Benchmark, score: float) -> float:
        """(score - chance) / scale; an unknown chance counts as 0."""
        return (score - (benchmark.chance or 0.0)) / self._scale(benchmark)

    def _scale(self, benchmark: Benchmark) -> float:
        return 1 - (benchmark.chance or 0.0) if self.scale is None else self.scale


@dataclass(frozen=True)
class Definition:
    """A version of the truth: the mean over `parts`, each of the same weight; 0 is chance.

    stored: whether the value is the mean that the result stores, which is the mean over its groups.
    """

    version: int
    parts: tuple[Part, ...]
    stored: bool = False

    @property
    def by_name(self) -> dict[str, Part]:
        """The parts by name."""
        return {part.name: part for part in self.parts}

    def value(self, run: BenchmarkScores) -> float:
        """The truth of one run."""
        return run.mean.score if self.stored else fmean(part.value(run) for part in self.parts)

    def error_bound(self, run: Result) -> float:
        """The standard error of the value over items: the one that the result stores, or an upper bound.

        The bound takes the errors of the parts as perfectly correlated.
        """
        return run.mean.standard_error if self.stored else fmean(p.estimate(run).standard_error for p in self.parts)

    def weights(self, run: Result) -> dict[str, float]:
        """The weight of each benchmark's score in the value."""
        return {name: w / len(self.parts) for part in self.parts for name, w in part.weights(run).items()}

    def of_source(self, run: Result, source: str) -> float | None:
        """The truth of one run over the items of one source of pictures; None if it has none."""
        found = [value for part in self.parts if (value := part.of_source(run, source)) is not None]
        return fmean(found) if found else None


LATEST = 3
STORED = 2
"""Version 2 is the mean over naming, detail and category; each result of suite 'embedded' stores it."""

_THREE = Definition(
    LATEST,
    (
        Part("naming", ("caption_choice", "retrieval")),
        Part("category", ("category",)),
        Part("caption gain", ("caption_gain",), BLIND_NATS),
    ),
)
DEFINITIONS: Mapping[tuple[str, int, int], Definition] = {
    ("embedded", 1, LATEST): _THREE,
    ("embedded", 2, LATEST): _THREE,  # the same questions about more pictures
    ("selection", 1, LATEST): _THREE,
    ("furniture", 1, LATEST): _THREE,  # the same questions about another domain
}
"""By name and version of the suite, and version of the truth. All other truths are the stored mean."""


def definition_of(run: BenchmarkScores, version: int = LATEST) -> Definition:
    """What the truth of a run is made of: by `DEFINITIONS`, else the mean over groups that the result stores.

    Raises VlmatchError if `version` is neither 2 nor 3.
    """
    if version not in (STORED, LATEST):
        raise VlmatchError(f"truth={version}, wanted {LATEST}, or {STORED} for the mean that each result stores")
    found = DEFINITIONS.get((run.suite.name, run.suite.version, version))
    if found is not None and all(name in run.benchmarks for part in found.parts for name in part.of):
        return found
    return Definition(STORED, tuple(Part(name, group.of) for name, group in run.groups.items()), stored=True)
