"""Block 3: do the frozen rules choose well among encoders that they were not chosen on?"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from scipy.stats import rankdata

from vlmatch.evidence.replay import Figure, Outcome, difference, replay
from vlmatch.evidence.rules import CANDIDATES, NEIGHBOURS, SPEC, single
from vlmatch.evidence.truths import Comparison
from vlmatch.report.evidence import bare
from vlmatch_study.evidence.worlds import read
from vlmatch_study.findings.block import Block
from vlmatch_study.findings.scored import SIZE, Row, shared_seeds, world_of
from vlmatch_study.findings.section import Part, Section
from vlmatch_study.findings.tables import OPEN, PRELIMINARY, figure, table, within

RATIO = single("participation_ratio", "participation ratio")
RULES = (
    NEIGHBOURS,
    RATIO,
    SPEC,
    next(rule for rule in CANDIDATES if rule.name == "spec_ridge"),
    single("gw", "GW", higher_is_better=False),
    single("gw_centred", "GW, centred", higher_is_better=False),
)
"""The pooled rule first, which is the primary one; then what it is compared with."""
WORTH_FOLLOWING, FIRST_THREE = 0.5, 0.75  # study/preregistration.md
SMALLER = 5  # pools of 8 from 11 families leave too few bootstraps over families for an interval; these have one
AS_BEFORE, AGAINST, SMALLEST = ".03 [-.13, .17]", 0.2, 0.18  # block 3 of study/blocks.md


@dataclass(frozen=True)
class Replayed:
    """What the rules gave in pools of some of the new encoders; no outcomes where they are too few for pools.

    size: of the pools. against_ratio: by how much participation ratio loses more than the pooled rule, in random's
    regret.
    """

    encoders: int
    families: int
    seeds: tuple[int, ...]
    size: int
    outcomes: tuple[Outcome, ...]
    against_ratio: Figure

    def outcome(self, rule: str) -> Outcome | None:
        """The outcome of one rule, or of 'random'."""
        return next((each for each in self.outcomes if each.rule == rule), None)


def replayed(
    comparison: Comparison, rows: Sequence[Row], left_out: Sequence[str] = (), size: int = SIZE
) -> Replayed | None:
    """Choose by each rule from random pools, as the record of evidence does; None for fewer than 8 encoders."""
    world = world_of("block3", comparison, [row for row in rows if row["encoder"] not in left_out], RULES)
    if world is None:
        return None
    return Replayed(
        len(world),
        world.n_families,
        shared_seeds(comparison, world.names),
        size,
        tuple(replay(world, RULES, "random", size)),
        difference(world, NEIGHBOURS, RATIO, "random", size),
    )


def section(block: Block) -> Section:
    """Its section: regrets, the places that were predicted and found, and the answer."""
    rows, comparison = read(block.folder / "scores.csv"), block.comparison
    if comparison is None:
        return Section(OPEN)
    warned = [row["encoder"] for row in rows if row["control"] == "1"]
    every, smaller = replayed(comparison, rows), replayed(comparison, rows, size=SMALLER)
    without = replayed(comparison, rows, warned)
    return Section(
        answer(every, every is not None and block.finished),
        (
            Part(regrets({"all": every, "all (added later)": smaller, "not warned of": without})),
            Part(
                places(comparison, rows),
                "Places by the pooled rule (MutualNN) and by the truth, among the encoders that have a truth:",
            ),
        ),
    )


def regrets(found: Mapping[str, Replayed | None]) -> str:
    """The table of regrets: a line for each rule, for all encoders and for those without a health warning."""
    head = ["encoders", "rule", "regret / random's", "a good one in the first three"]
    title = {"random": "a pick at random"} | {rule.name: rule.title for rule in RULES}
    rows = [
        [f"{name}: pools of {each.size} from {each.encoders} encoders, {each.families} families, "
         f"seed{'s' * (len(each.seeds) > 1)} {', '.join(map(str, each.seeds))}",
         title[outcome.rule], figure(*outcome.fraction), figure(*outcome.first_three)]
        for name, each in found.items() if each is not None for outcome in each.outcomes
    ]  # fmt: skip
    return table(head, rows)


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


def answer(found: Replayed | None, finished: bool) -> str:
    """What came out for each claim that was written before: by study/preregistration.md, and by study/blocks.md."""
    if found is None or not found.outcomes:
        return "There are too few for pools of 8."
    rule, spec = found.outcome(NEIGHBOURS.name), found.outcome("spec_ridge")
    if rule is None or spec is None or rule.fraction.value is None or rule.first_three.value is None:
        return "The pooled rule has no figures."
    carries = rule.fraction.value <= WORTH_FOLLOWING and rule.first_three.value >= FIRST_THREE
    against = rule.fraction.value > AGAINST
    claims = [
        f"The pooled rule is worth following: {_refuted(not carries)}. It has {figure(*rule.fraction)} of random's "
        f"regret (refuted above .50), and a good encoder in its first three in {figure(*rule.first_three)} of pools "
        "(refuted below .75).",
        f"It is as good here as on the encoders that it was chosen on: {'spoken against' if against else 'possible'}. "
        f"Its regret would then be {AS_BEFORE}; above .20 speaks against it.",
    ]
    more = found.against_ratio.value
    if more is not None:
        claims.append(
            f"It measures alignment, and not how many dimensions features have: {_refuted(more < -SMALLEST)}. "
            f"Participation ratio has {figure(*found.against_ratio)} more regret (refuted below -.18, the smallest "
            "effect that this block can show)."
        )
    if spec.fraction.value is not None:
        claims.append(
            f"The rule for patches travels to this setting: {_refuted(spec.fraction.value >= 1)}. It has "
            f"{figure(*spec.fraction)} of random's regret (refuted from 1 on)."
        )
    said = ["" if finished else PRELIMINARY, "What was claimed before, and what came out:"]
    return " ".join(each for each in said if each) + "\n\n" + "\n".join(f"- {claim}" for claim in claims)


def _refuted(refuted: bool) -> str:
    return "refuted" if refuted else "not refuted"
