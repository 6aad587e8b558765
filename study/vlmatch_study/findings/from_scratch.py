"""Trainings that were done once more from scratch, with the same seed: how far the second truth lies from the first."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from vlmatch.evidence.truths import Comparison, comparisons_in
from vlmatch.report.evidence import bare
from vlmatch_study.findings.section import Part, Section
from vlmatch_study.findings.tables import table
from vlmatch_study.findings.trained import named


@dataclass(frozen=True)
class Again:
    """One training and its repetition: the truth of each, and the deviation between seeds of that setting."""

    label: str
    encoder: str
    seed: int
    first: float
    second: float
    between_seeds: float | None

    @property
    def difference(self) -> float:
        """The second truth minus the first."""
        return self.second - self.first


def section(root: Path) -> Section:
    """The section: what was repeated below study/blocks/repeated, beside the first results in study/blocks/results."""
    blocks = root / "study" / "blocks"
    found = repetitions(comparisons_in([blocks / "results"]), comparisons_in([blocks / "repeated"]))
    return Section(answer(found), (Part(repetitions_table(found)),))


def repetitions(firsts: Sequence[Comparison], seconds: Sequence[Comparison]) -> list[Again]:
    """Each training of `seconds` beside that of `firsts` with the same setting, encoder and seed, if there is one."""
    by_setting = {each.setting: each for each in firsts}
    found = []
    for second in seconds:
        if first := by_setting.get(second.setting):
            found += [
                Again(named(second), name, seed, first.by_seed[name][seed], value, first.between_seeds)
                for name, by_seed in second.by_seed.items()
                for seed, value in by_seed.items()
                if seed in first.by_seed.get(name, {})
            ]
    return found


def answer(found: Sequence[Again]) -> str:
    """How many trainings were repeated, and the largest difference."""
    if not found:
        return "No training was repeated yet."
    many = f"{len(found)} training{'s were' if len(found) > 1 else ' was'} repeated from scratch."
    equal = sum(each.difference == 0 for each in found)
    if equal == len(found):
        return f"{many} Each ended with the same truth, digit by digit, on the same machine."
    widest = max(found, key=lambda each: abs(each.difference))
    deviation = ""
    if widest.between_seeds:
        deviation = f"; the standard deviation between seeds is {bare(widest.between_seeds, 3)} there"
    return (
        f"{many} {equal} of {len(found)} ended with the same truth, digit by digit. The largest difference is "
        f"{bare(widest.difference, 3)}{deviation}."
    )


def repetitions_table(found: Sequence[Again]) -> str:
    """The table: a line for each training."""
    rows = [
        [each.label, each.encoder, str(each.seed), bare(each.first, 3), bare(each.second, 3), bare(each.difference, 3),
         bare(each.between_seeds, 3)]
        for each in found
    ]  # fmt: skip
    head = ["truth", "encoder", "seed", "first", "repeated", "difference", "standard deviation between seeds"]
    return table(head, rows)
