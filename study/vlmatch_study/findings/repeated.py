"""Block 4: how well do seeds agree, over all encoders and among the best, and what follows for any score?"""

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from math import sqrt
from statistics import fmean, stdev

from vlmatch.evidence.correlation import Correlation, correlation
from vlmatch.evidence.seeds import agreements
from vlmatch.evidence.truths import Comparison, comparisons_in
from vlmatch.report.evidence import bare
from vlmatch_study.blocks.block import Block, together
from vlmatch_study.evidence.worlds import DATA, LLM
from vlmatch_study.findings.section import Part, Section
from vlmatch_study.tables import OPEN, PRELIMINARY, figure, table


@dataclass(frozen=True)
class BySeeds:
    """Deviations of the truth over some encoders, taken over their first `seeds` seeds.

    between_encoders: that of the means. of_mean: what the seeds add to it: their pooled deviation / sqrt(seeds).
    """

    seeds: int
    encoders: int
    between_encoders: float
    of_mean: float


def by_seeds(comparison: Comparison, encoders: Sequence[str] | None = None) -> list[BySeeds]:
    """The deviations by number of seeds, over the pretrained encoders (of `encoders`) with that many seeds."""
    found = []
    for count in range(2, len(comparison.seeds) + 1):
        kept = [
            list(truth.by_seed.values())[:count]
            for truth in comparison.pretrained
            if len(truth.runs) >= count and (encoders is None or truth.encoder in encoders)
        ]
        if len(kept) > 1:
            within = sqrt(fmean(stdev(values) ** 2 for values in kept))
            found.append(BySeeds(count, len(kept), stdev(map(fmean, kept)), within / sqrt(count)))
    return found


def from_recipe_to_recipe(present: Comparison, new: Comparison) -> Correlation:
    """Spearman's correlation of two recipes' truths over the pretrained encoders that both have."""
    one, other = ({truth.encoder: truth.mean for truth in each.pretrained} for each in (present, new))
    return correlation(one, other)


def section(blocks: Sequence[Block]) -> Section:
    """Its section. blocks: the one of the best encoders, then the one of all others."""
    comparison = together(blocks)
    if comparison is None:
        return Section(OPEN)
    tier = by_seeds(comparison, blocks[0].encoders)
    return Section(
        answer(comparison, tier, blocks),
        (
            Part(
                agreement(comparison, blocks[0].encoders),
                "Spearman's correlation of every two seeds, over the pretrained encoders that were trained with both, "
                "and over those of the twelve best by the truth of `embedded`:",
            ),
            Part(
                spreads({"all pretrained": by_seeds(comparison), "the twelve best": tier}),
                "Standard deviations of the truth between encoders, by the number of seeds in its mean, and the "
                "standard error of this mean that comes from the seeds:",
            ),
        ),
    )


def agreement(comparison: Comparison, best: Collection[str]) -> str:
    """The table of agreements over all encoders and over the `best`: a line for every two seeds."""
    rows = [
        [f"{over_all.seeds[0]} and {over_all.seeds[1]}",
         *(cell for each in (over_all, over_best) for cell in (str(each.n), bare(each.spearman)))]
        for over_all, over_best in zip(agreements(comparison), agreements(comparison, best), strict=True)
    ]  # fmt: skip
    return table(["seeds", "encoders", "Spearman", "of the twelve best", "Spearman"], rows)


def spreads(found: dict[str, list[BySeeds]]) -> str:
    """The table of deviations: a line for each number of seeds, for all encoders and for the best."""
    rows = [
        [name, str(each.seeds), str(each.encoders), bare(each.between_encoders, 3), bare(each.of_mean, 3)]
        for name, lines in found.items()
        for each in lines
    ]
    return table(["among", "seeds", "encoders", "between encoders' means", "error of a mean from seeds"], rows)


def answer(comparison: Comparison, tier: Sequence[BySeeds], blocks: Sequence[Block]) -> str:
    """What the seeds settle among the best, and how far both recipes agree."""
    said = [] if all(block.finished for block in blocks) else [PRELIMINARY]
    if tier:
        last = tier[-1]
        said.append(
            f"Among {last.encoders} of the best encoders, the means over {last.seeds} seeds have a standard deviation "
            f"of {bare(last.between_encoders, 3)}. The noise of seeds alone would give {bare(last.of_mean, 3)}. The "
            "choice of items adds noise, which is not computed here."
        )
    present = [
        each
        for each in comparisons_in([blocks[0].root / "study" / "results"])
        if (each.setting.llm, each.setting.data, each.setting.recipe.name) == (LLM, DATA, "embedded")
    ]
    if present:
        alike = from_recipe_to_recipe(present[0], comparison)
        if alike.low is not None:
            said.append(
                "The truths by the recipes `embedded` and `embedded3` have a Spearman of "
                f"{figure(alike.spearman, alike.low, alike.high)} over {alike.n} encoders."
            )
    return " ".join(said)
