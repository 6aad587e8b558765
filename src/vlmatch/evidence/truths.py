"""The truths of one setting, compared: results grouped by LLM, data, recipe, suite and split."""

from collections import Counter
from collections.abc import Callable, Collection, Iterable, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from math import sqrt
from pathlib import Path

from vlmatch.errors import VlmatchError
from vlmatch.evidence.definitions import LATEST, Definition, definition_of
from vlmatch.evidence.likelihoods import NONE_STORED, Likelihoods
from vlmatch.evidence.truth import Truth
from vlmatch.replaced import replaced_in
from vlmatch.results import BLIND, Benchmark, RecipeId, Result, SuiteId, read_folders

RANDOM = "random_resnet18"  # the control with random weights


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
    """The truths of one setting, best first, the blind model among them.

    replaced: results that later results of the same runs have replaced; they are shown but don't count.
    """

    setting: Setting
    truths: tuple[Truth, ...]
    replaced: tuple[Result, ...] = ()

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
    def between_seeds(self) -> float | None:
        """The deviation between seeds, pooled over the pretrained encoders; None if none has two seeds."""
        return next((truth.between_seeds for truth in self.truths if truth.encoder != BLIND), None)

    @property
    def unpaired(self) -> tuple[str, ...]:
        """The encoders that can't be compared item by item, as they have no stored likelihoods; without blind."""
        return tuple(each.encoder for each in self.truths if each.influence is None and each.encoder != BLIND)

    @property
    def best_tier(self) -> tuple[Truth, ...]:
        """The better half of the packaged encoders by truth; of an odd number, it includes the middle one."""
        packaged = [truth for truth in self.truths if truth.packaged]
        return tuple(packaged[: (len(packaged) + 1) // 2])

    @property
    def definition(self) -> Definition:
        """What the truths are made of."""
        return self.truths[0].definition

    def made_of(self, parts: Collection[str]) -> "Comparison":
        """The same runs, compared by only these parts of the truth."""
        definition = replace(
            self.definition, parts=tuple(part for part in self.definition.parts if part.name in parts), stored=False
        )
        truths = [replace(truth, definition=definition) for truth in self.truths]
        return replace(self, truths=_best_first(truths))

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
        """The optimiser steps of every run; None if runs differ or do not say."""
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
    def precisions(self) -> dict[str, int]:
        """The number of runs by the precision of their training, most frequent first; empty if none states it."""
        found = Counter(run.precision or "unknown" for truth in self.truths for run in truth.runs)
        return dict(found.most_common()) if set(found) != {"unknown"} else {}

    @property
    def seeds(self) -> tuple[int, ...]:
        """All seeds that at least one encoder was trained with."""
        return tuple(sorted({run.seed for truth in self.truths for run in truth.runs}))


def comparisons_in(folders: Sequence[Path], version: int = LATEST) -> list[Comparison]:
    """Compare the results below `folders` as `comparisons` does, with the likelihoods that lie beside them.

    Raises VlmatchError as `comparisons` and `results.read_folders` do.
    """
    return comparisons(read_folders(folders), version, Likelihoods(tuple(folders)), replaced_in(folders))


def comparisons(
    results: Iterable[Result],
    version: int = LATEST,
    likelihoods: Likelihoods = NONE_STORED,
    replaced: Sequence[Result] = (),
) -> list[Comparison]:
    """Group results by setting: runs of different LLMs, data, recipes, suites or splits are never compared.

    version: of the truth, 3 or 2 (`definitions`). Results of suites that have no definition of their own keep the mean
    that they store. likelihoods: those beside the results. replaced: results that are shown but don't count.

    Raises VlmatchError if runs of one encoder were trained on different features, if runs of one setting answered
    different benchmarks, or on an unknown version.
    """
    settings: dict[Setting, dict[str, list[Result]]] = {}
    for run in results:
        settings.setdefault(Setting.of(run), {}).setdefault(run.encoder, []).append(run)
    found = [_comparison(setting, by_encoder, version, likelihoods) for setting, by_encoder in settings.items()]
    found = [
        replace(each, replaced=tuple(run for run in replaced if Setting.of(run) == each.setting)) for each in found
    ]
    return sorted(found, key=lambda comparison: repr(comparison.setting))


def _comparison(
    setting: Setting, by_encoder: dict[str, list[Result]], version: int, likelihoods: Likelihoods
) -> Comparison:
    for runs in by_encoder.values():
        _require_same(runs, "visual", lambda run: run.visual)
    every = [run for runs in by_encoder.values() for run in runs]
    _require_same(every, "benchmarks", _asked)
    made_of = definition_of(every[0], version)
    truths = [
        Truth(name, tuple(sorted(runs, key=lambda run: run.seed)), made_of, likelihoods=likelihoods)
        for name, runs in by_encoder.items()
    ]
    return Comparison(setting, _best_first(truths))


def _best_first(truths: Sequence[Truth]) -> tuple[Truth, ...]:
    """The truths, best first, each with the deviation between seeds: pooled over pretrained encoders; blind's own."""
    pooled = _pooled_deviation([truth for truth in truths if not truth.control])
    full = [replace(truth, between_seeds=truth.deviation if truth.encoder == BLIND else pooled) for truth in truths]
    return tuple(sorted(full, key=lambda truth: (-truth.mean, truth.encoder)))


def _pooled_deviation(truths: Iterable[Truth]) -> float | None:
    """The deviation between seeds, pooled over encoders with two or more; None without any."""
    repeated = [(len(truth.runs) - 1, truth.deviation) for truth in truths if truth.deviation is not None]
    freedom = sum(each for each, _ in repeated)
    return sqrt(sum(each * deviation**2 for each, deviation in repeated) / freedom) if freedom else None


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
