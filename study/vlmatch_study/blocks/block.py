"""One block of trainings: its experiment, how many trainings it has, and the truths of those that are finished."""

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any, Self

import yaml

from vlmatch import paths
from vlmatch.configs import pool
from vlmatch.errors import VlmatchError
from vlmatch.evidence.likelihoods import Likelihoods
from vlmatch.evidence.truths import Comparison, comparisons
from vlmatch.results import Result, read

LLM = "smollm2"  # of experiments that name none


@dataclass(frozen=True)
class Block:
    """A block by its number and the names of its recipes.

    root: the checkout; its `study/blocks` has the results. left_out: a dtype whose results are not read.
    """

    number: int | str
    recipes: tuple[str, ...]
    root: Path = field(default_factory=paths.root)
    left_out: str | None = None

    @classmethod
    def of(cls, number: int | str, root: Path) -> Self:
        """The block with the one recipe of its experiment; VlmatchError if it has no experiment."""
        unnamed = cls(number, (), root)
        named = unnamed.experiment.get("recipe", {}).get("name")
        if named is None:
            recipe = root / "study" / "conf" / "recipe" / f"{unnamed.chosen('recipe')}.yaml"
            named = yaml.safe_load(recipe.read_text(encoding="utf-8"))["name"]
        return cls(number, (str(named),), root)

    @property
    def folder(self) -> Path:
        """The folder of its scores and predictions."""
        return self.root / "study" / "blocks" / str(self.number)

    @cached_property
    def experiment(self) -> dict[str, Any]:
        """The content of its experiment's yaml; VlmatchError if it has none."""
        path = self.root / "study" / "conf" / "experiment" / f"block{self.number}.yaml"
        if not path.is_file():
            raise VlmatchError(f"block {self.number} has no experiment '{path}'; add it, or leave the block out")
        return dict(yaml.safe_load(path.read_text(encoding="utf-8")))

    def chosen(self, group: str) -> str | None:
        """The option that its experiment chooses in a configuration group; None if it chooses none."""
        return next((each[key] for each in self.experiment["defaults"] if (key := f"override /{group}") in each), None)

    @cached_property
    def swept(self) -> dict[str, list[str]]:
        """The values of each key that its experiment sweeps over; VlmatchError if it has no experiment."""
        return {key: _axis(str(text)) for key, text in self.experiment["hydra"]["sweeper"]["params"].items()}

    @property
    def planned(self) -> int:
        """How many trainings, or measurements, its experiment sweeps over."""
        return math.prod(map(len, self.swept.values()))

    @property
    def encoders(self) -> list[str]:
        """The names of its encoders in the results; with the feature, if its experiment sweeps over features."""
        swept = self.swept
        return [
            f"{name}_{feature}" if feature else name
            for name in swept["encoder"]
            for feature in swept.get("encoder.feature", [""])
        ]

    @cached_property
    def results(self) -> list[Result]:
        """Its finished trainings, in the order of their paths."""
        encoders, seeds, llm = self.encoders, self.swept["recipe.seed"], self.chosen("llm") or LLM
        return [
            run
            for run in read(self.results_folder)
            if run.recipe.name in self.recipes
            and (run.llm, run.encoder in encoders, str(run.seed) in seeds) == (llm, True, True)
            and (run.dtype or "unknown") != self.left_out
        ]

    @cached_property
    def comparisons(self) -> list[Comparison]:
        """Its truths by setting: recipe, LLM, data, suite and split."""
        return comparisons(self.results, likelihoods=Likelihoods((self.results_folder,)))

    @property
    def comparison(self) -> Comparison | None:
        """The truths of the setting with the most finished trainings; None without any."""
        return max(self.comparisons, key=n_runs, default=None)

    @property
    def results_folder(self) -> Path:
        """Where its experiment keeps results: those of trainings in one folder, those of measurements in another."""
        return self.root / self.experiment["results"].removeprefix("${vlmatch.root:}/")

    @property
    def finished(self) -> bool:
        """Whether all of its trainings are finished."""
        return len(self.results) == self.planned

    @property
    def dtypes(self) -> list[str]:
        """The dtypes of the LLM in its finished trainings."""
        return sorted({each.dtype or "unknown" for each in self.results})


def progress(blocks: Sequence[Block]) -> str:
    """How many trainings of some blocks are finished, as a sentence."""
    done, planned = (
        sum(counts) for counts in zip(*((len(each.results), each.planned) for each in blocks), strict=True)
    )
    jobs = "measurements" if blocks[0].chosen("task") == "measure_block" else "trainings"
    if not done:
        return f"None of {planned} {jobs} is finished."
    dtypes = sorted({dtype for block in blocks for dtype in block.dtypes})
    return f"{done} of {planned} {jobs} {'is' if done == 1 else 'are'} finished, in {' and '.join(dtypes)}."


def n_runs(comparison: Comparison) -> int:
    """How many trainings a comparison has."""
    return sum(len(truth.runs) for truth in comparison.truths)


def together(blocks: Sequence[Block]) -> Comparison | None:
    """The results of several blocks of one recipe, compared as one; None without any."""
    results = [run for block in blocks for run in block.results]
    found = comparisons(results, likelihoods=Likelihoods((blocks[0].results_folder,)))
    return max(found, key=n_runs, default=None)


def _axis(text: str) -> list[str]:
    """The values of a swept key: those between commas, or the part of the pool that `${vlmatch.pool:PART}` names."""
    part = re.fullmatch(r"\$\{vlmatch\.pool:(\w+)\}", text)
    return pool(part[1]) if part else [each.strip() for each in text.split(",")]
