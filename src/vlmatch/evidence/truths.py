"""The truth about each encoder: the scores of VLMs trained with it, as means over runs that differ only in the seed."""

from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property
from math import copysign, hypot, inf, sqrt
from statistics import fmean, stdev

from vlmatch.encoders.catalogue import catalogue
from vlmatch.errors import VlmatchError
from vlmatch.evidence.definitions import LATEST, Definition, definition_of
from vlmatch.results import BLIND, Benchmark, Estimate, RecipeId, Result, SuiteId

RANDOM = "random_resnet18"  # the control with random weights


@dataclass(frozen=True)
class Truth:
    """One encoder's runs, one for each seed, in the order of seeds, and what their truth is made of."""

    encoder: str
    runs: tuple[Result, ...]
    definition: Definition

    @property
    def control(self) -> bool:
        """Whether the encoder is a control."""
        return self.runs[0].control

    @property
    def trained_here(self) -> bool:
        """Whether this project trained the encoder; False for one that the catalogue does not list."""
        entry = catalogue().get(self.encoder)
        return entry is not None and entry.trained_on_domain

    @property
    def packaged(self) -> bool:
        """Whether other people pretrained the encoder."""
        return not self.control and not self.trained_here

    @property
    def weights_sha256(self) -> str | None:
        """The SHA-256 of the encoder's weights; None if it has no weights."""
        return self.runs[0].visual.weights_sha256

    @property
    def mean(self) -> float:
        """The mean over seeds of the value that `definition` gives to each run; 0 is chance."""
        return fmean(self.by_seed.values())

    @property
    def by_seed(self) -> dict[int, float]:
        """The value of each seed's run."""
        return {run.seed: self.definition.value(run) for run in self.runs}

    @property
    def deviation(self) -> float | None:
        """The standard deviation between seeds (n - 1 in the denominator); None for one seed."""
        return stdev(self.by_seed.values()) if len(self.runs) > 1 else None

    @property
    def standard_error(self) -> float:
        """The standard error of `mean`: sqrt(mean of the runs' squared standard errors + deviation^2 / seeds).

        All seeds answer the same items, so more seeds reduce the seeds' part of the error and not the items' part. With
        one seed only the items' part is known, so the error is too small.
        """
        items = fmean(run.mean.standard_error**2 for run in self.runs)
        return sqrt(items + (self.deviation or 0.0) ** 2 / len(self.runs))

    def group(self, name: str) -> Estimate:
        """The mean over seeds of a group of `Comparison.groups`, and the root mean square of its standard errors."""
        part = self.definition.by_name.get(name)
        return _over([run.groups[name] if part is None else part.estimate(run) for run in self.runs])

    def benchmark(self, name: str) -> Estimate:
        """The mean over seeds of one benchmark's score, and the root mean square of its standard errors."""
        return _over([run.benchmarks[name] for run in self.runs])

    def shuffled(self, name: str) -> float | None:
        """The mean over seeds of one benchmark's score with other items' pictures; None if it is not known."""
        found = [run.benchmarks[name].shuffled for run in self.runs]
        return None if None in found else fmean(each for each in found if each is not None)

    def source(self, name: str) -> float | None:
        """The truth over the items of one source of pictures; None if it has no items."""
        found = [value for run in self.runs if (value := self.definition.of_source(run, name)) is not None]
        return fmean(found) if found else None

    @property
    def learning_curve(self) -> tuple[tuple[int, float], ...]:
        """Each milestone's step and the stored mean over groups there, over seeds. Empty if the steps differ."""
        steps = {tuple(milestone.step for milestone in run.milestones) for run in self.runs}
        if len(steps) > 1:
            return ()
        by_step = zip(*(run.milestones for run in self.runs), strict=True)
        return tuple((each[0].step, fmean(milestone.mean for milestone in each)) for each in by_step)

    def errors_above(self, other: "Truth") -> float:
        """By how many standard errors of the difference this truth is above `other`.

        The errors are taken as independent. Both answered the same items, so the true error of the difference is
        smaller. Without any error the result is infinite, or 0 for equal means.
        """
        difference, error = self.mean - other.mean, hypot(self.standard_error, other.standard_error)
        return difference / error if error else copysign(inf, difference) if difference else 0.0


@dataclass(frozen=True)
class Setting:
    """What runs must share to be compared."""

    llm: str
    data: str
    recipe: RecipeId
    suite: SuiteId
    split: str

    @classmethod
    def of(cls, run: Result) -> "Setting":
        """The setting of a run."""
        return cls(run.llm, run.data, run.recipe, run.suite, run.split)


@dataclass(frozen=True)
class Comparison:
    """The truths of one setting, best first, the blind model among them."""

    setting: Setting
    truths: tuple[Truth, ...]

    @cached_property
    def by_encoder(self) -> dict[str, Truth]:
        """The truths by the encoders' names."""
        return {truth.encoder: truth for truth in self.truths}

    @property
    def by_seed(self) -> dict[str, dict[int, float]]:
        """By encoder and seed, the truth of each run; the best encoder first, controls and the blind model too."""
        return {truth.encoder: truth.by_seed for truth in self.truths}

    @property
    def blind(self) -> Truth | None:
        """The truth of the model that sees nothing, if there is one."""
        return self.by_encoder.get(BLIND)

    @property
    def random(self) -> Truth | None:
        """The truth of the network with random weights, if there is one."""
        return self.by_encoder.get(RANDOM)

    @property
    def pretrained(self) -> tuple[Truth, ...]:
        """The truths of all encoders but the controls, best first."""
        return tuple(truth for truth in self.truths if not truth.control)

    @property
    def best_tier(self) -> tuple[Truth, ...]:
        """The better half of the packaged encoders by truth, with the middle one of an odd number."""
        packaged = [truth for truth in self.truths if truth.packaged]
        return tuple(packaged[: (len(packaged) + 1) // 2])

    @property
    def definition(self) -> Definition:
        """What the truths are made of."""
        return self.truths[0].definition

    @property
    def groups(self) -> tuple[str, ...]:
        """The names of the parts of the truth, then of the results' groups that are shown but not in the truth."""
        return tuple(dict.fromkeys([*self.definition.by_name, *self.truths[0].runs[0].groups]))

    @property
    def shown_only(self) -> tuple[str, ...]:
        """The names of the results' groups that are not in the truth."""
        return tuple(name for name in self.groups if name not in self.definition.by_name)

    @property
    def benchmarks(self) -> dict[str, Benchmark]:
        """The benchmarks of the first run; chance and number of items are the same for all runs."""
        return dict(self.truths[0].runs[0].benchmarks)

    def group_of(self, benchmark: str) -> str | None:
        """The part of the truth that a benchmark belongs to; None if it is reported only."""
        return next((name for name, part in self.definition.by_name.items() if benchmark in part.of), None)

    @property
    def steps(self) -> int | None:
        """The optimiser steps of every run; None if runs differ or do not tell."""
        found = {run.steps for truth in self.truths for run in truth.runs}
        return found.pop() if len(found) == 1 else None

    @property
    def sources(self) -> tuple[str, ...]:
        """The sources of pictures that the benchmarks of the truth have items from."""
        run = self.truths[0].runs[0]
        asked = [name for part in self.definition.parts for name in part.of]
        return tuple(dict.fromkeys(source for name in asked for source in run.benchmarks[name].by_source))

    @property
    def dtypes(self) -> dict[str, int]:
        """The number of runs by the dtype of the LLM during training, most frequent first."""
        return dict(Counter(run.dtype or "unknown" for truth in self.truths for run in truth.runs).most_common())

    @property
    def seeds(self) -> tuple[int, ...]:
        """All seeds that at least one encoder was trained with."""
        return tuple(sorted({run.seed for truth in self.truths for run in truth.runs}))


def comparisons(results: Iterable[Result], version: int = LATEST) -> list[Comparison]:
    """Group results by setting: runs of different LLMs, data, recipes, suites or splits are never compared.

    version: of the truth, 3 or 2 (`definitions`). Results of suites that have no definition of their own keep the mean
    that they store.

    Raises VlmatchError if runs of one encoder were trained on different features, if runs of one setting answered
    different benchmarks, or on an unknown version.
    """
    settings: dict[Setting, dict[str, list[Result]]] = {}
    for run in results:
        settings.setdefault(Setting.of(run), {}).setdefault(run.encoder, []).append(run)
    found = [_comparison(setting, by_encoder, version) for setting, by_encoder in settings.items()]
    return sorted(found, key=lambda comparison: repr(comparison.setting))


def _comparison(setting: Setting, by_encoder: dict[str, list[Result]], version: int) -> Comparison:
    for runs in by_encoder.values():
        _require_same(runs, "visual", lambda run: run.visual)
    every = [run for runs in by_encoder.values() for run in runs]
    _require_same(every, "benchmarks", _asked)
    made_of = definition_of(every[0], version)
    truths = [Truth(name, tuple(sorted(runs, key=lambda run: run.seed)), made_of) for name, runs in by_encoder.items()]
    return Comparison(setting, tuple(sorted(truths, key=lambda truth: (-truth.mean, truth.encoder))))


def _asked(run: Result) -> object:
    """The benchmarks that a run answered, with their numbers of items and chances, and the groups."""
    return {name: (each.n, each.chance) for name, each in run.benchmarks.items()}, {
        name: group.of for name, group in run.groups.items()
    }


def _require_same(runs: Sequence[Result], field: str, value: Callable[[Result], object]) -> None:
    for run in runs[1:]:
        if value(run) != value(runs[0]):
            raise VlmatchError(
                f"results '{runs[0].run}' and '{run.run}' have the same versions but differ in {field}; "
                "raise the version of what changed, or train the older run again"
            )


def _over(scores: Sequence[Estimate]) -> Estimate:
    return Estimate(fmean(each.score for each in scores), sqrt(fmean(each.standard_error**2 for each in scores)))
