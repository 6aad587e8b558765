"""The truth about one encoder: the scores of VLMs trained with it, over runs that differ only in the seed."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property
from math import copysign, hypot, inf, sqrt
from statistics import fmean, stdev

from vlmatch.benchmarks.measurement import Influence
from vlmatch.encoders.catalogue import catalogue
from vlmatch.evidence.definitions import Definition
from vlmatch.evidence.likelihoods import NONE_STORED, Likelihoods, mean_influence
from vlmatch.results import Estimate, Result


@dataclass(frozen=True)
class Truth:
    """One encoder's runs, one for each seed, in the order of seeds, and what their truth is made of.

    between_seeds: the deviation between seeds, pooled over the pretrained encoders of the setting; None if it is
    unknown. likelihoods: those beside the results, from which the errors over items follow.
    """

    encoder: str
    runs: tuple[Result, ...]
    definition: Definition
    between_seeds: float | None = None
    likelihoods: Likelihoods = field(default=NONE_STORED, compare=False, repr=False)

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

    @cached_property
    def influence(self) -> Influence | None:
        """How far each item moves the truth, over the runs whose likelihoods are stored; None if none are."""
        weights = self.definition.weights(self.runs[0])
        found = [self.likelihoods.influence(run, weights) for run in self.runs]
        known = [each for each in found if each is not None]
        return mean_influence(known) if known else None

    @property
    def item_error(self) -> float:
        """The standard error from the choice of items; without stored likelihoods, the definition's `error_bound`.

        All seeds answer the same items, so more seeds hardly reduce it.
        """
        if self.influence is not None:
            return self.influence.standard_error
        return sqrt(fmean(self.definition.error_bound(run) ** 2 for run in self.runs))

    @property
    def seed_error(self) -> float:
        """The standard error from the seeds: their pooled deviation / sqrt(seeds); 0 if it is unknown."""
        return (self.between_seeds or 0.0) / sqrt(len(self.runs))

    @property
    def standard_error(self) -> float:
        """The standard error of `mean`, from items and seeds; too small if the seeds' part is not known.

        Both parts include the chance in how one training answers one item, so the error is slightly too large.
        """
        return hypot(self.item_error, self.seed_error)

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

    def paired_with(self, other: "Truth") -> bool:
        """Whether the likelihoods of both are stored, so that their answers can be compared item by item."""
        return self.influence is not None and other.influence is not None

    def item_error_of_difference(self, other: "Truth") -> float:
        """The standard error over items of the difference to `other`.

        Items are paired if the likelihoods of both are stored (`paired_with`). Otherwise both errors are taken as
        independent. The result is then usually too large, because both answered the same items.
        """
        if self.influence is not None and other.influence is not None:
            return (self.influence - other.influence).standard_error
        return hypot(self.item_error, other.item_error)

    def error_of_difference(self, other: "Truth") -> float:
        """The standard error of the difference to `other`, from items and seeds."""
        return hypot(self.item_error_of_difference(other), self.seed_error, other.seed_error)

    def errors_above(self, other: "Truth") -> float:
        """By how many standard errors of the difference this truth is above `other`.

        Without any error the result is infinite, or 0 for equal means.
        """
        difference, error = self.mean - other.mean, self.error_of_difference(other)
        return difference / error if error else copysign(inf, difference) if difference else 0.0


def _over(scores: Sequence[Estimate]) -> Estimate:
    return Estimate(fmean(each.score for each in scores), sqrt(fmean(each.standard_error**2 for each in scores)))
