"""One block of trainings: its experiment, how many trainings it has, and the truths of those that are finished."""

import math
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

import yaml

from vlmatch import paths
from vlmatch.errors import VlmatchError
from vlmatch.evidence.likelihoods import Likelihoods
from vlmatch.evidence.truths import Comparison, comparisons
from vlmatch.results import Result, read


@dataclass(frozen=True)
class Block:
    """A block by its number and the names of its recipes. root: the checkout; its `study/blocks` has the results."""

    number: int
    recipes: tuple[str, ...]
    root: Path = field(default_factory=paths.root)

    @property
    def folder(self) -> Path:
        """The folder of its scores and predictions."""
        return self.root / "study" / "blocks" / str(self.number)

    @cached_property
    def swept(self) -> dict[str, list[str]]:
        """The values of each key that its experiment sweeps over; VlmatchError if it has no experiment."""
        path = self.root / "study" / "conf" / "experiment" / f"block{self.number}.yaml"
        if not path.is_file():
            raise VlmatchError(f"block {self.number} has no experiment '{path}'; add it, or leave the block out")
        values = yaml.safe_load(path.read_text(encoding="utf-8"))["hydra"]["sweeper"]["params"]
        return {key: [each.strip() for each in str(text).split(",")] for key, text in values.items()}

    @property
    def planned(self) -> int:
        """How many trainings its experiment sweeps over."""
        return math.prod(map(len, self.swept.values()))

    @property
    def encoders(self) -> list[str]:
        """The names that the results of its encoders have: with the feature, where it sweeps over features."""
        swept = self.swept
        return [
            f"{name}_{feature}" if feature else name
            for name in swept["encoder"]
            for feature in swept.get("encoder.feature", [""])
        ]

    @cached_property
    def results(self) -> list[Result]:
        """Its finished trainings, in the order of their paths."""
        encoders, seeds = self.encoders, self.swept["recipe.seed"]
        return [
            run
            for run in read(self._results)
            if run.recipe.name in self.recipes and run.encoder in encoders and str(run.seed) in seeds
        ]

    @cached_property
    def comparisons(self) -> list[Comparison]:
        """Its truths by setting: recipe, LLM, data, suite and split."""
        return comparisons(self.results, likelihoods=Likelihoods((self._results,)))

    @property
    def _results(self) -> Path:
        return self.root / "study" / "blocks" / "results"

    @property
    def progress(self) -> str:
        """How many of its trainings are finished, as a sentence."""
        done = len(self.results)
        if not done:
            return f"None of its {self.planned} trainings is finished."
        dtypes = sorted({each.dtype or "unknown" for each in self.results})
        return f"{done} of its {self.planned} trainings are finished, in {' and '.join(dtypes)}."
