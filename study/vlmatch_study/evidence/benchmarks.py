"""VTBenchLab's single benchmarks with two LLMs: what picks cost by another LLM's VLMs, and in pictures with text.

The figures were read after the rules were frozen. The scores are those of the world `vtbenchlab`: captions are embedded
by Qwen2.5-1.5B for both LLMs.
"""

from collections.abc import Sequence
from statistics import fmean

import numpy as np

from vlmatch.evidence.record import SIZE
from vlmatch.evidence.replay import rank_correlation, replay
from vlmatch.evidence.rules import NEIGHBOURS, RIDGE, SPEC, Rule, single
from vlmatch.evidence.worlds import World
from vlmatch_study.evidence.later import SPEC_RIDGE
from vlmatch_study.evidence.worlds import PUBLISHED, vtbenchlab
from vlmatch_study.rows import column, read
from vlmatch_study.tables import figure, table

BENCHMARKS = PUBLISHED / "benchmarks_vtbenchlab.csv"
LLM, OTHER_LLM = "Qwen2.5-1.5B", "Qwen3-1.7B"
MEAN = ("mean of 11",)
TEXT = ("ChartQA", "DocVQA", "TextVQA")  # questions about text in pictures
QUESTIONS = ("MMMU", "MMBench", "VQAv2", "ScienceQA", "POPE", "GQA")
CAPTIONS = ("COCO", "Flickr")
TRUTHS = {"mean of 11": MEAN, "text in pictures": TEXT, "other questions": QUESTIONS, "captions": CAPTIONS}
FALLEN = 7.5  # points by which a mean with the other LLM is below that with the first one; chosen after a look at them
OTHER_VLMS = "other_vlms"
RULES: tuple[Rule, ...] = (
    SPEC_RIDGE,
    SPEC,
    RIDGE,
    NEIGHBOURS,
    single("cka", "CKA"),
    single("participation_ratio", "participation ratio"),
    single("linear_probe", "ImageNet linear probe"),
    single("language_supervised", "language-supervised"),
    single("width", "width"),
    single("tokens", "tokens"),
    single(OTHER_VLMS, "VLMs with the other LLM"),
)


def world(llm: str, benchmarks: Sequence[str]) -> World:
    """The 47 encoders whose benchmarks are published, by VLMs with this LLM: one training each.

    The truth is the mean over `benchmarks`. The value `OTHER_VLMS` is the same of VLMs with the other LLM.
    """
    rows = read(BENCHMARKS)
    cells = {
        (row["encoder"], row["llm"], row["benchmark"]): score
        for row, score in zip(rows, column(rows, "score"), strict=True)
    }
    whole, known = vtbenchlab(), {row["encoder"] for row in rows}
    kept = whole.without([name for name in whole.names if name not in known], "vtbenchlab_benchmarks")
    own, other = (
        np.array([fmean(cells[name, each, benchmark] for benchmark in benchmarks) for name in kept.names])
        for each in ((LLM, OTHER_LLM) if llm == LLM else (OTHER_LLM, LLM))
    )
    return World.of(f"{kept.name} {llm}", kept.names, kept.families, own, {**kept.values, OTHER_VLMS: other})


def fallen(by: World) -> list[str]:
    """The encoders whose VLM is far worse than that with the other LLM, so that its training may have failed."""
    behind = by.values[OTHER_VLMS] - by.mean_truth
    return [name for name, gap in zip(by.names, behind, strict=True) if gap >= FALLEN]


def agreement_table() -> str:
    """How alike the VLMs of both LLMs order the encoders: a line for each group of benchmarks."""
    rows = [[name, figure(*rank_correlation(world(LLM, truth), RULES[-1]))] for name, truth in TRUTHS.items()]
    return table(["benchmarks", "Spearman of the VLMs with both LLMs"], rows)


def regrets_table() -> str:
    """The table of regrets: a line for each rule, a column for each truth."""
    other = world(OTHER_LLM, MEAN)
    found = {
        f"{LLM}: mean of 11": world(LLM, MEAN),
        f"{OTHER_LLM}: mean of 11": other,
        f"the same without {len(fallen(other))} fallen ones": other.without(fallen(other), "without fallen ones"),
        f"{LLM}: text in pictures": world(LLM, TEXT),
        f"{OTHER_LLM}: text in pictures": world(OTHER_LLM, TEXT),
    }
    outcomes = [{each.rule: each.fraction for each in replay(by, RULES, "random", SIZE)} for by in found.values()]
    rows = [[rule.title, *(figure(*each[rule.name]) for each in outcomes)] for rule in RULES]
    return table(["picked by", *found], rows)
