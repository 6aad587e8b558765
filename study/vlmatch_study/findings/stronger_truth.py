"""Block 0: which data and how many steps separate encoders best, in deviations between seeds?"""

from collections.abc import Sequence
from dataclasses import dataclass
from math import sqrt
from statistics import fmean, stdev

from vlmatch.evidence.truths import Comparison
from vlmatch.report.evidence import bare
from vlmatch_study.blocks.block import Block
from vlmatch_study.findings.section import Part, Section
from vlmatch_study.tables import table

RECIPES = ("embedded_200", "embedded_400")
PRESENT = ("vlm_a", 200)
"""Data and steps of the recipe that the cells are compared with."""


@dataclass(frozen=True)
class Cell:
    """Trainings on the same data with the same number of steps.

    truths: by encoder, the value of each seed. between_encoders, between_seeds: standard deviations; the latter from
    the encoders with two seeds or more. pooled: the deviation between seeds over all cells.
    """

    data: str
    steps: int
    truths: dict[str, tuple[float, ...]]
    between_encoders: float
    between_seeds: float
    pooled: float
    minutes: float

    @property
    def ratio(self) -> float:
        """The deviation between encoders, divided by that between this cell's seeds."""
        return self.between_encoders / self.between_seeds

    @property
    def pooled_ratio(self) -> float:
        """The deviation between encoders, divided by that between seeds over all cells."""
        return self.between_encoders / self.pooled


def cells(comparisons: Sequence[Comparison]) -> list[Cell]:
    """The cells in which at least two encoders have two seeds, by data and steps."""
    found = []
    for comparison in comparisons:
        truths = {each.encoder: tuple(each.by_seed.values()) for each in comparison.truths if len(each.runs) > 1}
        if len(truths) > 1 and comparison.steps:
            found.append((comparison, truths))
    if not found:
        return []
    deviations = [stdev(values) for _, truths in found for values in truths.values()]
    pooled = _root_mean_square(deviations)
    return sorted(
        (
            Cell(
                comparison.setting.data,
                comparison.steps or 0,
                truths,
                stdev(fmean(values) for values in truths.values()),
                _root_mean_square([stdev(values) for values in truths.values()]),
                pooled,
                fmean(_minutes(comparison)),
            )
            for comparison, truths in found
        ),
        key=lambda cell: (cell.steps, cell.data),
    )


def chosen(found: Sequence[Cell]) -> Cell | None:
    """The cell that replaces the present recipe by the rule of study/blocks.md; None if none does."""
    present = next((cell for cell in found if (cell.data, cell.steps) == PRESENT), None)
    if present is None:
        return None
    better = [cell for cell in found if cell.ratio > present.ratio and cell.pooled_ratio > present.pooled_ratio]
    return max(better, key=lambda cell: cell.pooled_ratio, default=None)


def section(block: Block) -> Section:
    """Its section: its table and its answer."""
    found = cells(block.comparisons)
    encoders = list(dict.fromkeys(name for cell in found for name in cell.truths))
    head = ["data", "steps", *encoders, "between encoders", "between seeds", "ratio", "pooled ratio", "minutes a run"]
    rows = [
        [
            cell.data,
            str(cell.steps),
            *(", ".join(bare(value, 3) for value in cell.truths.get(name, ())) or "-" for name in encoders),
            bare(cell.between_encoders, 3),
            bare(cell.between_seeds, 3),
            bare(cell.ratio, 1),
            bare(cell.pooled_ratio, 1),
            f"{cell.minutes:.1f}",
        ]
        for cell in found
    ]
    return Section(_answer(found), (Part(table(head, rows), "Truths of both seeds:"),))


def _answer(found: Sequence[Cell]) -> str:
    cell = chosen(found)
    if len(found) < 4:
        return "The question stays open until all four combinations have two seeds."
    if cell is None:
        return "No combination has larger ratios, by both deviations, than 200 steps on vlm_a, so the recipe stays."
    return (
        f"Chosen: {cell.steps} steps on {cell.data}. The standard deviation between its encoders is "
        f"{bare(cell.ratio, 1)} times the deviation between its own seeds, and {bare(cell.pooled_ratio, 1)} times the "
        "deviation between seeds pooled over all four combinations."
    )


def _minutes(comparison: Comparison) -> list[float]:
    runs = [run for truth in comparison.truths for run in truth.runs]
    return [((run.seconds.train or 0.0) + (run.seconds.evaluate or 0.0)) / 60 for run in runs]


def _root_mean_square(values: Sequence[float]) -> float:
    return sqrt(fmean(value**2 for value in values))
