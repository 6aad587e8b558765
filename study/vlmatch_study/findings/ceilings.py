"""Ceilings: how well a perfect score could follow a truth, which is noisy; and how alike two recipes' truths are."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations
from math import sqrt
from statistics import fmean

from vlmatch.evidence.correlation import LEAST_FOR_INTERVAL, Correlation
from vlmatch.evidence.seeds import agreements
from vlmatch.evidence.truths import Comparison
from vlmatch.report.evidence import bare
from vlmatch_study.blocks.worlds import shared_seeds
from vlmatch_study.findings.confound import AS_IT_IS, split
from vlmatch_study.findings.repeated import from_recipe_to_recipe
from vlmatch_study.findings.trained import Trained, shared
from vlmatch_study.tables import figure, table

ABOVE = (
    "How alike two truths with the same LLM order the encoders that both have, with the 95% bootstrap interval over "
    "encoders, and how alike they would be if they differed in their seeds alone (the product of both ceilings). If "
    "they agree less, the order depends on the recipe:"
)
"""What stands above the table of pairs of truths."""


@dataclass(frozen=True)
class Seeds:
    """The mean Spearman's correlation between two seeds of one truth over some encoders; None without two seeds.

    seeds: how many seeds the truth is a mean of. pairs: how many pairs of seeds there are.
    """

    seeds: int
    pairs: int
    spearman: float | None

    @property
    def reliability(self) -> float | None:
        """The share of the variance of the mean over seeds that is not noise of the seeds (Spearman and Brown)."""
        if self.spearman is None or self.spearman <= 0:
            return None
        return self.seeds * self.spearman / (1 + (self.seeds - 1) * self.spearman)

    @property
    def ceiling(self) -> float | None:
        """The correlation of the exact order with the mean over seeds: the square root of the reliability."""
        return None if self.reliability is None else sqrt(self.reliability)


@dataclass(frozen=True)
class Ceiling:
    """How alike two truths order the pretrained encoders that both have, and how alike the seeds of each do."""

    one: str
    other: str
    correlation: Correlation
    seeds: tuple[Seeds, Seeds]

    @property
    def expected(self) -> float | None:
        """How alike they would be if they differed in their seeds alone: the product of both ceilings."""
        one, other = (each.ceiling for each in self.seeds)
        return None if one is None or other is None else one * other


def seeds_agree(comparison: Comparison, encoders: Sequence[str]) -> Seeds:
    """The mean agreement of two seeds, over those of `encoders` that have both."""
    found = [each.spearman for each in agreements(comparison, encoders) if each.spearman is not None]
    return Seeds(len(shared_seeds(comparison, encoders)), len(found), fmean(found) if found else None)


def ceilings(truths: Sequence[Trained]) -> list[Ceiling]:
    """How alike two truths order their common encoders, for every two with the same LLM and seven of these or more."""
    found = []
    for one, other in combinations(truths, 2):
        names = shared(one.comparison, other.comparison)
        if one.llm == other.llm and len(names) >= LEAST_FOR_INTERVAL:
            alike = from_recipe_to_recipe(one.comparison, other.comparison)
            agreed = seeds_agree(one.comparison, names), seeds_agree(other.comparison, names)
            found.append(Ceiling(one.label, other.label, alike, agreed))
    return found


def seeds_table(truths: Sequence[Trained]) -> str:
    """The table of single truths: a line for each with two seeds of seven encoders or more. Variants do not count."""
    rows = []
    for each in truths:
        names = [
            truth.encoder
            for truth in each.comparison.pretrained
            if len(truth.runs) > 1 and split(truth.encoder)[1] == AS_IT_IS
        ]
        agreed = seeds_agree(each.comparison, names)
        if agreed.spearman is not None and len(names) >= LEAST_FOR_INTERVAL:
            figures = bare(agreed.spearman), bare(agreed.reliability), bare(agreed.ceiling)
            rows.append([each.label, str(len(names)), str(agreed.seeds), *figures])
    head = ["truth", "encoders", "seeds", "Spearman of two seeds", "reliability of the mean", "ceiling of a score"]
    return table(head, rows)


def ceilings_table(found: Sequence[Ceiling]) -> str:
    """The table of pairs of truths: a line for each."""
    rows = [
        [
            each.one,
            each.other,
            str(each.correlation.n),
            figure(each.correlation.spearman, each.correlation.low, each.correlation.high),
            bare(each.expected),
        ]
        for each in found
    ]
    return table(["truth", "other truth", "encoders", "Spearman", "if they differed in seeds alone"], rows)
