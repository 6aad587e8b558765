"""Trainings that were repeated from scratch with the same seed: how far the second truth lies from the first."""

from collections.abc import Sequence
from dataclasses import dataclass
from math import sqrt
from pathlib import Path
from statistics import fmean

from vlmatch.evidence.truths import Comparison, comparisons_in
from vlmatch.report.evidence import bare
from vlmatch_study.findings.section import Part, Section
from vlmatch_study.findings.trained import named
from vlmatch_study.tables import table


@dataclass(frozen=True)
class Again:
    """One training and its repetition: truth and dtype of each, and the deviation between seeds of that setting."""

    label: str
    encoder: str
    seed: int
    first: float
    second: float
    dtypes: tuple[str, str]
    between_seeds: float | None

    @property
    def difference(self) -> float:
        """The second truth minus the first."""
        return self.second - self.first


def section(root: Path) -> Section:
    """The section: trainings that were repeated for it, or trained again by a search, beside the first results."""
    study = root / "study"
    folders = {
        study / "blocks" / "results": study / "blocks" / "repeated",
        study / "results": study / "search" / "results",
    }
    found = [
        each
        for first, second in folders.items()
        for each in repetitions(comparisons_in([first]), comparisons_in([second]))
    ]
    return Section(answer(found), (Part(repetitions_table(found)),))


def repetitions(firsts: Sequence[Comparison], seconds: Sequence[Comparison]) -> list[Again]:
    """Each training of `seconds` beside that of `firsts` with the same setting, encoder and seed, if there is one."""
    by_setting = {each.setting: each for each in firsts}
    found = []
    for second in seconds:
        if first := by_setting.get(second.setting):
            found += [
                Again(
                    named(second),
                    name,
                    seed,
                    first.by_seed[name][seed],
                    value,
                    (dtype_of(first, name, seed), dtype_of(second, name, seed)),
                    first.between_seeds,
                )
                for name, by_seed in second.by_seed.items()
                for seed, value in by_seed.items()
                if seed in first.by_seed.get(name, {})
            ]
    return found


def dtype_of(comparison: Comparison, encoder: str, seed: int) -> str:
    """The dtype of the LLM in one training."""
    return next(run.dtype or "unknown" for run in comparison.by_encoder[encoder].runs if run.seed == seed)


def answer(found: Sequence[Again]) -> str:
    """How many trainings were repeated, how many gave the same truth, and by how much the others differ."""
    if not found:
        return "No training was repeated yet."
    many = f"{len(found)} training{'s were' if len(found) > 1 else ' was'} repeated."
    others = [each for each in found if each.difference != 0]
    equal = f"{len(found) - len(others)} of them ended with the same truth, digit by digit."
    if not others:
        return f"{many} {equal}"
    spread = sqrt(fmean(each.difference**2 for each in others))
    widest = max(others, key=lambda each: abs(each.difference))
    deviation = ""
    if widest.between_seeds:
        deviation = f"; the standard deviation between seeds of this truth is {bare(widest.between_seeds, 3)}"
    return (
        f"{many} {equal} The differences of the others have a root mean square of {bare(spread, 3)}. The largest is "
        f"{bare(widest.difference, 3)}{deviation}."
    )


def repetitions_table(found: Sequence[Again]) -> str:
    """The table: a line for each training."""
    rows = [
        [each.label, each.encoder, str(each.seed), f"{bare(each.first, 3)}, {each.dtypes[0]}",
         f"{bare(each.second, 3)}, {each.dtypes[1]}", bare(each.difference, 3), bare(each.between_seeds, 3)]
        for each in found
    ]  # fmt: skip
    head = ["truth", "encoder", "seed", "first", "repeated", "difference", "standard deviation between seeds"]
    return table(head, rows)
