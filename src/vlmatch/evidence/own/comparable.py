"""A truth made comparable: the encoders that answered the same benchmarks, with one number for each."""

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from math import sqrt

import numpy as np
from numpy.typing import NDArray

from vlmatch.errors import VlmatchError
from vlmatch.evidence.correlation import LEAST
from vlmatch.evidence.own.cells import KEY, OwnTruth
from vlmatch.evidence.own.reading import Cell
from vlmatch.evidence.own.tables import some
from vlmatch.evidence.worlds import Floats

OWN_MEANS = ("average", "mean", "avg", "overall")  # benchmarks that are the mean of the others


@dataclass(frozen=True, eq=False)
class ComparableTruth:
    """The truths of one LLM and recipe.

    truth: (n, seeds), more is better. standard_error: of the difference of two, from the seeds; 0 with one seed.
    measure: what a truth is, in words. notes: what was left out.
    """

    llm: str
    recipe: str
    encoders: tuple[str, ...]
    truth: Floats
    standard_error: float
    measure: str
    notes: tuple[str, ...]

    @property
    def mean(self) -> Floats:
        """The truth of each encoder as the mean over seeds: (n,)."""
        return self.truth.mean(axis=1)


def comparable_truths(truth: OwnTruth) -> tuple[list[ComparableTruth], list[str]]:
    """The truths by LLM and recipe, and one line for each LLM whose VLMs can't be compared.

    Raises VlmatchError, which is the first of these lines, where no LLM is left.
    """
    groups: dict[tuple[str, str], list[Cell]] = defaultdict(list)
    for cell in truth.cells:
        groups[cell.llm, cell.recipe].append(cell)
    found, problems = [], []
    for (llm, recipe), cells in groups.items():
        try:
            found.append(_comparable_truth(llm, recipe, cells))
        except VlmatchError as error:
            problems.append(f"{KEY}={truth.source}: {llm}{', ' if recipe else ''}{recipe}: {error}")
    if not found:
        more = f"; {len(problems) - 1} more LLMs or recipes can't be compared" if len(problems) > 1 else ""
        raise VlmatchError(problems[0] + more)
    return found, problems


def complete(known: NDArray[np.bool_]) -> tuple[list[int], list[int]]:
    """Drop rows and columns until the table has no gaps; returns the numbers of those that stay.

    The row or column with the largest share of gaps is dropped first; of a row and a column with equal shares, the
    column.
    """
    rows, columns = list(range(known.shape[0])), list(range(known.shape[1]))
    while rows and columns and not (table := known[np.ix_(rows, columns)]).all():
        by_row, by_column = 1 - table.mean(axis=1), 1 - table.mean(axis=0)
        if by_column.max() >= by_row.max():
            columns.pop(int(by_column.argmax()))
        else:
            rows.pop(int(by_row.argmax()))
    return rows, columns


def _comparable_truth(llm: str, recipe: str, cells: Sequence[Cell]) -> ComparableTruth:
    by_pair: dict[tuple[str, str], dict[str, float]] = defaultdict(dict)
    for cell in cells:
        by_pair[cell.encoder, cell.benchmark][cell.seed] = cell.score
    encoders, benchmarks, notes = _complete_cells(by_pair)
    if len(encoders) < LEAST:
        names = f" ({', '.join(encoders)})" if encoders else ""
        raise VlmatchError(
            f"{len(encoders)} encoder{'s'[: len(encoders) != 1]}{names} answered the same benchmarks; wanted at least "
            f"{LEAST}, since a correlation of fewer means nothing"
        )
    kept = {(e, b): by_pair[e, b] for e in encoders for b in benchmarks}
    means = np.array([[np.mean(list(kept[e, b].values())) for b in benchmarks] for e in encoders])
    varied = means.std(axis=0) > 0
    if not varied.any():
        raise VlmatchError("every encoder has the same truth, so no score can predict it; add benchmarks or encoders")
    if constant := [name for name, varies in zip(benchmarks, varied, strict=True) if not varies]:
        notes.append(f"benchmarks on which all encoders are equal are left out: {some(constant)}")
        benchmarks = [name for name in benchmarks if name not in constant]
        means = means[:, varied]
    shift, scale, measure = _scaled(benchmarks, means)
    seeds = {frozenset(kept[e, b]) for e in encoders for b in benchmarks}
    values = {
        encoder: {
            seed: float(
                np.mean([(kept[encoder, b][seed] - m) / d for b, m, d in zip(benchmarks, shift, scale, strict=True)])
            )
            for seed in sorted(frozenset.intersection(*(frozenset(kept[encoder, b]) for b in benchmarks)))
        }
        for encoder in encoders
    }
    if len(seeds) == 1:
        table = np.array([list(values[encoder].values()) for encoder in encoders])
    else:
        table = ((means - shift) / scale).mean(axis=1)[:, None]
        notes.append("not all encoders and benchmarks have the same seeds, so the truth is the mean over all of them")
    return ComparableTruth(llm, recipe, tuple(encoders), table, _error(values.values()), measure, tuple(notes))


def _complete_cells(by_pair: Mapping[tuple[str, str], object]) -> tuple[list[str], list[str], list[str]]:
    """Encoders and benchmarks of which every pair is known, and notes on those that are left out."""
    encoders, benchmarks = (list(dict.fromkeys(pair[place] for pair in by_pair)) for place in (0, 1))
    own = [name for name in benchmarks if name.casefold() in OWN_MEANS]
    if own and len(benchmarks) > 1:
        benchmarks = own[:1]
    known = np.array([[(e, b) in by_pair for b in benchmarks] for e in encoders])
    rows, columns = complete(known)
    notes = []
    if lacking := [name for place, name in enumerate(benchmarks) if place not in columns]:
        notes.append(f"benchmarks that too many encoders lack are left out: {some(lacking)}")
    if lacking := [name for place, name in enumerate(encoders) if place not in rows]:
        notes.append(f"encoders that lack a benchmark are left out: {some(lacking)}")
    return [encoders[row] for row in rows], [benchmarks[column] for column in columns], notes


def _scaled(benchmarks: Sequence[str], means: Floats) -> tuple[Floats, Floats, str]:
    """What to subtract from each benchmark, what to divide it by, and what the truth then is, in words.

    Benchmarks of one scale, all up to 1 or all percent, stay as they are. If scales differ, each benchmark counts in
    its standard deviations from its mean over encoders.
    """
    zeros, ones = np.zeros(len(benchmarks)), np.ones(len(benchmarks))
    if len(benchmarks) == 1:
        return zeros, ones, benchmarks[0]
    scales = {1 if column.max() <= 1 else 100 if column.max() <= 100 and column.min() >= 0 else 0 for column in means.T}
    if len(scales) == 1 and 0 not in scales:
        return zeros, ones, f"mean of {len(benchmarks)} benchmarks"
    measure = (
        f"mean of {len(benchmarks)} benchmarks of different scales, each in its standard deviations between encoders"
    )
    return means.mean(axis=0), means.std(axis=0), measure


def _error(values: Iterable[Mapping[str, float]]) -> float:
    """The standard error of a difference of two truths, from the seeds' pooled deviation; 0 without repeated seeds."""
    tables = [list(by_seed.values()) for by_seed in values]
    repeated = [each for each in tables if len(each) > 1]
    freedom = sum(len(each) - 1 for each in repeated)
    if not freedom:
        return 0.0
    variance = sum((len(each) - 1) * float(np.var(each, ddof=1)) for each in repeated) / freedom
    return sqrt(2 * variance * float(np.mean([1 / max(len(each), 1) for each in tables])))
