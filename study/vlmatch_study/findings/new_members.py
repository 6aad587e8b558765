"""Block 3: do the frozen rules choose well among encoders that they were not chosen on?"""

from collections.abc import Sequence

import numpy as np
from scipy.stats import rankdata

from vlmatch.evidence.record import SIZE
from vlmatch.evidence.replay import Figure, rank_correlation
from vlmatch.evidence.rules import NEIGHBOURS
from vlmatch.evidence.truths import Comparison
from vlmatch.report.evidence import bare
from vlmatch_study.blocks.block import Block
from vlmatch_study.blocks.worlds import world_of
from vlmatch_study.evidence.later import RULES, SMALLER, SPEC_RIDGE, Replayed, replayed
from vlmatch_study.evidence.recording import RULES as RECORDED
from vlmatch_study.findings.scored import followed, scores_table
from vlmatch_study.findings.section import Part, Section
from vlmatch_study.rows import Row, read
from vlmatch_study.tables import OPEN, PRELIMINARY, figure, table, within

NEW_FAMILIES = ("DINOv2", "EfficientNet", "PP-LCNet", "MobileNetV1", "dlib ResNet", "MTCNN")  # study/blocks.md
WORTH_FOLLOWING, FIRST_THREE = 0.5, 0.75  # study/preregistration.md
AS_BEFORE, AGAINST, SMALLEST = ".03 [-.13, .17]", 0.2, 0.18  # block 3 of study/blocks.md

EASY = (
    '"Not refuted" says little: a rule that knows nothing stays below .50 in 19% of such blocks. The spec sheet is a '
    "weak opponent here: only one of these encoders was trained with text, a small one of our own, and the number of "
    "tokens is 1 for all."
)
"""How easy it is to pass; study/blocks.md, block 3, has the 19%."""


def section(block: Block) -> Section:
    """Its section: regrets, the places that were predicted and found, and the answer."""
    rows, comparison = read(block.folder / "scores.csv"), block.comparison
    if comparison is None:
        return Section(OPEN)
    every, smaller = replayed(comparison, rows), replayed(comparison, rows, size=SMALLER)
    found = [each for each in (every, smaller) if each is not None]
    return Section(
        answer(every, smaller, block.finished),
        (
            Part(regrets(found)),
            Part(
                correlations(comparison, rows),
                "Spearman's correlation with the truth, which needs no pools, with its interval over families:",
            ),
            Part(
                committed(comparison, rows),
                "Every single score and fact that was committed before these trainings. The claims above are about "
                "four of them; this table was added after the outcome. p is the p value of Spearman's correlation if "
                "encoders were independent, also corrected by Holm's method for the number of lines:",
            ),
            Part(
                places(comparison, rows),
                "Places by the pooled rule (MutualNN) and by the truth, among the encoders that have a truth:",
            ),
        ),
    )


def regrets(found: Sequence[Replayed]) -> str:
    """The table of regrets: a line for each size of pools and rule."""
    head = ["pools", "rule", "regret / random's", "a good one in the first three"]
    title = {"random": "a pick at random"} | {rule.name: rule.title for rule in RULES}
    rows = [
        [f"of {each.size} from {each.encoders} encoders, {each.families} families, "
         f"seed{'s' * (len(each.seeds) > 1)} {', '.join(map(str, each.seeds))}",
         title[outcome.rule], figure(*outcome.fraction), figure(*outcome.first_three)]
        for each in found for outcome in each.outcomes
    ]  # fmt: skip
    return table(head, rows)


def correlations(comparison: Comparison, rows: Sequence[Row]) -> str:
    """The table of correlations: a line for each rule, a column for each group of encoders."""
    groups = {
        "all": rows,
        "without a health warning": [row for row in rows if row["control"] != "1"],
        "of new families": [row for row in rows if row["family"] in NEW_FAMILIES],
    }
    worlds = {name: world_of(name, comparison, group, RULES) for name, group in groups.items()}
    known = {f"{name} ({len(world)})": world for name, world in worlds.items() if world is not None}
    lines = [[rule.title, *(figure(*rank_correlation(world, rule)) for world in known.values())] for rule in RULES]
    return table(["rule", *known], lines) if known else ""


def committed(comparison: Comparison, rows: Sequence[Row]) -> str:
    """The table of every score and fact in the file of predictions, the least regret first."""
    singles = [rule for rule in RECORDED if len(rule.ingredients) == 1 and {*rule.needs} <= rows[0].keys()]
    world = world_of("committed", comparison, rows, singles)
    return scores_table(followed(world, singles, singles, sizes=(SIZE, SMALLER))) if world else ""


def places(comparison: Comparison, rows: Sequence[Row]) -> str:
    """The table of predicted places beside those by truth, best first, and their correlation.

    Both places are among the encoders that have a truth.
    """
    truths = comparison.by_encoder
    kept = [row for row in rows if row["encoder"] in truths]
    predicted = rankdata([-float(row["mutual_nn"]) for row in kept], method="min").astype(int)
    found = rankdata([-truths[row["encoder"]].mean for row in kept], method="min").astype(int)
    lines = [
        [row["encoder"] + (" (warned)" if row["control"] == "1" else ""), row["family"],
         bare(float(row["mutual_nn"]), 3), str(predicted[at]), str(found[at]),
         within(truths[row["encoder"]].mean, truths[row["encoder"]].standard_error)]
        for at, row in enumerate(kept)
    ]  # fmt: skip
    head = ["encoder", "family", "MutualNN", "predicted place", "place by truth", "truth (standard error)"]
    return table(head, [lines[at] for at in np.argsort(found, kind="stable")])


def answer(found: Replayed | None, smaller: Replayed | None, finished: bool) -> str:
    """What came out for each claim that was written before: by study/preregistration.md, and by study/blocks.md.

    As long as trainings are missing, there is no verdict. smaller: the same by smaller pools, whose figures decide
    claims about an interval if pools of 8 have none.
    """
    if found is None or not found.outcomes:
        return "There are too few encoders for pools of 8."
    by = found if smaller is None or found.coverage.high is not None else smaller
    rule, spec = found.outcome(NEIGHBOURS.name), found.outcome(SPEC_RIDGE.name)
    if rule is None or spec is None or rule.fraction.value is None or rule.first_three.value is None:
        return "The pooled rule has no figures."
    fails = rule.fraction.value > WORTH_FOLLOWING or rule.first_three.value < FIRST_THREE
    claims = [
        ("The pooled rule is worth following", fails,
         f"It has {figure(*rule.fraction)} of random's regret (refuted above .50), and a good encoder in its first "
         f"three in {figure(*rule.first_three)} of pools (refuted below .75). The share of random orders of these "
         f"encoders that lose as little is {bare(found.by_chance, 3)}."),
        ("It is as good here as on the encoders that it was chosen on", rule.fraction.value > AGAINST,
         f"Its regret would then be {AS_BEFORE}; more than .20 speaks against it."),
        ("Its shortlists by the frozen margin hold a good encoder in 90% of pools", _below(by.coverage, 0.9),
         f"They do in {figure(*by.coverage)} of pools of {by.size} (refuted if the interval lies below .90)."),
        ("It measures alignment, and not how many dimensions features have",
         None if found.against_ratio.value is None else found.against_ratio.value < -SMALLEST,
         f"Participation ratio has {figure(*found.against_ratio)} more regret (refuted below -.18, the smallest effect "
         "that this block can show; this limit replaces the preregistration's .78)."),
        ("Ridge R2 adds to the spec sheet", _below(by.ridge_adds, 0.0),
         f"Without it the spec sheet has {figure(*by.ridge_adds)} more regret in pools of {by.size} (refuted if the "
         "interval lies below 0)."),
        ("The rule for patches travels to this setting", spec.fraction.value is not None and spec.fraction.value >= 1,
         f"It has {figure(*spec.fraction)} of random's regret (refuted from 1 on)."),
    ]  # fmt: skip
    lines = [f"- {claim}{_verdict(refuted) if finished else ''}. {more}" for claim, refuted, more in claims]
    above = (
        "What was claimed before, and what came out:"
        if finished
        else f"{PRELIMINARY} So there is no verdict yet. What was claimed before, and what the figures are so far:"
    )
    return f"{above}\n\n" + "\n".join(lines) + (f"\n\n{EASY}" if finished else "")


def _below(found: Figure, limit: float) -> bool | None:
    """Whether an interval lies below a limit; None without an interval."""
    return None if found.high is None else found.high < limit


def _verdict(refuted: bool | None) -> str:
    return ": " + (
        "can't be judged without an interval" if refuted is None else "refuted" if refuted else "not refuted"
    )
