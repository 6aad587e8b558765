"""How far each item moves a run's truth, from the log-likelihoods beside its result."""

import csv
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from zipfile import BadZipFile

import numpy as np

from vlmatch.benchmarks.credits import QuestionPlan, credits_of
from vlmatch.benchmarks.measurement import Array, Influence, influence
from vlmatch.errors import VlmatchError, one_line
from vlmatch.results import Result

ITEMS = "items.csv"
"""The file beside the results of one LLM: the items in the order asked, with source, category and caption tokens."""


@dataclass(frozen=True)
class AskedItem:
    """One item: its picture's source and category, its caption's tokens, and the numbers of its groups.

    hard_group: None if the item is in no group of one category.
    """

    source: str
    category: str | None
    tokens: int
    group: int
    hard_group: int | None


@dataclass(frozen=True)
class Likelihoods:
    """The likelihoods that lie beside results in `folders`; a later folder's count, as in `results.read_folders`."""

    folders: tuple[Path, ...] = ()

    def influence(self, run: Result, weights: Mapping[str, float]) -> Influence | None:
        """How far each item moves the sum of the run's scores by these weights (benchmark -> weight).

        None if the run's likelihoods, or the table of its items, are not beside its result. The influences of two runs
        are over the same items, so their difference is that of a paired comparison.

        Raises VlmatchError on a file that is damaged or does not fit the result.
        """
        folder = next((each for each in reversed(self.folders) if (each / run.run).is_file()), None)
        if folder is None:
            return None
        path = (folder / run.run).with_suffix(".npz")
        table = path.with_name(ITEMS)
        if not path.is_file() or not table.is_file():
            return None
        items, plan = _asked(table)
        captions, categories = _arrays(path)
        if captions.shape != (len(items),) * 2 or categories.shape != (len(items), len(plan.categories)):
            raise VlmatchError(
                f"likelihoods '{path}' have the shapes {captions.shape} and {categories.shape}, but '{table}' lists "
                f"{len(items)} items of {len(plan.categories)} categories; restore both from one measurement"
            )
        credits = credits_of(items, plan, captions, np.array([item.tokens for item in items]), categories)
        for name in weights:
            if abs(credits[name].score - run.benchmarks[name].score) > 1e-4:
                raise VlmatchError(
                    f"likelihoods '{path}' give {name}={credits[name].score:.5g}, but the result beside them says "
                    f"{run.benchmarks[name].score:.5g}; restore both from one measurement"
                )
        return influence([(weight, credits[name]) for name, weight in weights.items()])


NONE_STORED = Likelihoods()


def mean_influence(found: Sequence[Influence]) -> Influence:
    """The influence on the mean of sums over the same items."""
    related = np.logical_or.reduce([each.related for each in found])
    return Influence(np.mean([each.moved for each in found], axis=0), related)


@cache
def _asked(table: Path) -> tuple[tuple[AskedItem, ...], QuestionPlan]:
    """The items of a table, and which questions were asked about them."""
    with table.open(encoding="utf-8", newline="") as lines:
        rows = list(csv.DictReader(lines))
    try:
        items = tuple(
            AskedItem(
                row["source"], row["category"] or None, int(row["tokens"]), int(row["group"]),
                int(row["hard_group"]) if row["hard_group"] else None,
            )
            for row in rows
        )  # fmt: skip
    except (KeyError, ValueError) as error:
        raise VlmatchError(
            f"'{table}' can't be read: {one_line(error)}; "
            "wanted the columns source, category, tokens, group and hard_group"
        ) from error
    categories = tuple(sorted({item.category for item in items if item.category}))
    hard = _grouped([item.hard_group for item in items])
    return items, QuestionPlan(_grouped([item.group for item in items]), hard, categories)


def _grouped(numbers: Sequence[int | None]) -> list[list[int]]:
    """The places of each number, in the order of numbers; None is in no group."""
    return [
        [place for place, found in enumerate(numbers) if found == number]
        for number in sorted({number for number in numbers if number is not None})
    ]


def _arrays(path: Path) -> tuple[Array, Array]:
    """The log-likelihoods of captions and of categories."""
    try:
        with np.load(path, allow_pickle=False) as stored:
            return stored["captions"].astype(np.float64), stored["categories"].astype(np.float64)
    except (OSError, ValueError, KeyError, BadZipFile) as error:
        raise VlmatchError(f"likelihoods '{path}' can't be read: {one_line(error)}; restore or remove it") from error
