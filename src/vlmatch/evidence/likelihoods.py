"""How far each item moves a run's truth, from the log-likelihoods beside its result."""

import csv
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from functools import cache
from pathlib import Path

import numpy as np

from vlmatch.benchmarks.credits import AskedItems, credits_of
from vlmatch.benchmarks.measurement import Array, Influence, influence
from vlmatch.errors import VlmatchError, one_line
from vlmatch.machine.disk import reading
from vlmatch.results import Result

ITEMS = "items.csv"
"""A file beside the results of one LLM that says what was asked about each item, if the likelihoods don't say it."""
COLUMNS = tuple(field.name for field in fields(AskedItems))


@dataclass(frozen=True)
class Likelihoods:
    """The likelihoods beside the results in `folders`; a later folder replaces an earlier, as in `read_folders`."""

    folders: tuple[Path, ...] = ()

    def influence(self, run: Result, weights: Mapping[str, float]) -> Influence | None:
        """How far each item moves the sum of the run's scores, each multiplied by its weight (benchmark -> weight).

        None if the run's likelihoods are not beside its result, or if no file says what was asked. Two runs answered
        the same items, so the difference of their influences compares them item by item.

        Raises VlmatchError on a file that is damaged or does not fit the result.
        """
        folder = next((each for each in reversed(self.folders) if (each / run.run).is_file()), None)
        if folder is None:
            return None
        path = (folder / run.run).with_suffix(".npz")
        if not path.is_file():
            return None
        captions, categories, asked = _stored(path)
        if asked is None:
            return None
        plan = asked.plan
        if captions.shape != (len(asked.source),) * 2 or categories.shape != (len(asked.source), len(plan.categories)):
            raise VlmatchError(
                f"likelihoods '{path}' have the shapes {captions.shape} and {categories.shape}, but "
                f"{len(asked.source)} items of {len(plan.categories)} categories were asked; "
                "restore all files of one measurement"
            )
        credits = credits_of(asked.items, plan, captions, asked.tokens, categories)
        for name in weights:
            if abs(credits[name].score - run.benchmarks[name].score) > 1e-4:
                raise VlmatchError(
                    f"likelihoods '{path}' give {name}={credits[name].score:.5g}, but the result beside them says "
                    f"{run.benchmarks[name].score:.5g}; restore both from one measurement"
                )
        return influence([(weight, credits[name]) for name, weight in weights.items()])


NONE_STORED = Likelihoods()


def mean_influence(found: Sequence[Influence]) -> Influence:
    """The influence of each item on the mean of several sums over the same items."""
    related = np.logical_or.reduce([each.related for each in found])
    return Influence(np.mean([each.moved for each in found], axis=0), related)


def _stored(path: Path) -> tuple[Array, Array, AskedItems | None]:
    """The log-likelihoods of captions and of categories, and what was asked; None if no file says what was asked."""
    with reading(path, "restore or remove it"), np.load(path, allow_pickle=False) as stored:
        captions, categories = (stored[name].astype(np.float64) for name in ("captions", "categories"))
        asked = AskedItems.read(stored) if "source" in stored else None
    table = path.with_name(ITEMS)
    return captions, categories, _listed(table) if asked is None and table.is_file() else asked


@cache
def _listed(table: Path) -> AskedItems:
    """What was asked, from a table."""
    try:
        with table.open(encoding="utf-8", newline="") as lines:
            rows = list(csv.DictReader(lines))
        return AskedItems.read({name: [row[name] for row in rows] for name in COLUMNS})
    except (KeyError, ValueError) as error:
        raise VlmatchError(
            f"'{table}' can't be read: {one_line(error)}; wanted the columns {', '.join(COLUMNS)}"
        ) from error
