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
WORTH_FOLLOWING, FIRST_THREE, SHOWN = 0.5, 0.75, 0.18  # study/preregistration.md, and block 3 of study/blocks.md


@dataclass(frozen=True)
class Replayed:
    """What the rules gave in pools of 8 from some of the new encoders; no outcomes where they are too few for pools.

    against_ratio: by how much participation ratio loses more than the pooled rule, in random's regret.
    """

    encoders: int
    families: int
    seeds: tuple[int, ...]
    outcomes: tuple[Outcome, ...]
    against_ratio: Figure

    def outcome(self, rule: str) -> Outcome | None:
        """The outcome of one rule, or of 'random'."""
        return next((each for each in self.outcomes if each.rule == rule), None)


def replayed(comparison: Comparison, rows: Sequence[Row], left_out: Sequence[str] = ()) -> Replayed | None:
    """Choose by each rule from random pools of 8, as the record of evidence does; None for too few encoders."""
    world = world_of("block3", comparison, [row for row in rows if row["encoder"] not in left_out], RULES)
    if world is None:
        return None
    return Replayed(
        len(world),
        world.n_families,
        shared_seeds(comparison, world.names),
        tuple(replay(world, RULES, "random", SIZE)),
        difference(world, NEIGHBOURS, RATIO, "random", SIZE),
    )


def section(block: Block) -> Section:
    """Its section: regrets, the places that were predicted and found, and the answer."""
    rows, comparison = read(block.folder / "scores.csv"), block.comparison
    if comparison is None:
        return Section(OPEN)
    controls = [row["encoder"] for row in rows if row["control"] == "1"]
    every, without = replayed(comparison, rows), replayed(comparison, rows, controls)
    return Section(
        answer(every, every is not None and block.finished),
        (
            Part(regrets({"all": every, "without controls": without})),
            Part(
                places(comparison, rows),
                "Places by the pooled rule (MutualNN) and by the truth, among the encoders that have a truth:",
            ),
        ),
    )


def regrets(found: Mapping[str, Replayed | None]) -> str:
    """The table of regrets: a line for each rule, for all encoders and without controls."""
    head = ["encoders", "rule", "regret / random's", "a good one in the first three"]
    title = {"random": "a pick at random"} | {rule.name: rule.title for rule in RULES}
    rows = [
        [f"{name}: {each.encoders} of {each.families} families, seeds {', '.join(map(str, each.seeds))}",
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
        [row["encoder"] + (" (control)" if row["control"] == "1" else ""), row["family"],
         bare(float(row["mutual_nn"]), 3), str(predicted[at]), str(found[at]),
         within(truths[row["encoder"]].mean, truths[row["encoder"]].standard_error)]
        for at, row in enumerate(kept)
    ]  # fmt: skip
    head = ["encoder", "family", "MutualNN", "predicted place", "place by truth", "truth (standard error)"]
    return table(head, [lines[at] for at in np.argsort(found, kind="stable")])


def answer(found: Replayed | None, finished: bool) -> str:
    """The answer by the thresholds of the preregistration."""
    if found is None or not found.outcomes:
        return "There are too few for pools of 8."
    rule, spec = found.outcome(NEIGHBOURS.name), found.outcome("spec_ridge")
    if rule is None or spec is None or rule.fraction.value is None or rule.first_three.value is None:
        return "The pooled rule has no figures."
    carries = rule.fraction.value <= WORTH_FOLLOWING and rule.first_three.value >= FIRST_THREE
    said = [
        "" if finished else PRELIMINARY,
        f"The pooled rule has {figure(*rule.fraction)} of random's regret, and a good encoder in its first three in "
        f"{figure(*rule.first_three)} of pools: as preregistered, that it is worth following is "
        f"{'not refuted' if carries else 'refuted'} (limits .50 and .75).",
    ]
    more = found.against_ratio.value
    if more is not None:
        dimensions = more < -SHOWN
        said.append(
            f"Participation ratio loses {figure(*found.against_ratio)} more; that the rule measures alignment and not "
            f"dimensions is {'refuted' if dimensions else 'not refuted'} (limit -.18)."
        )
    if spec.fraction.value is not None:
        travels = spec.fraction.value < 1
        said.append(
            f"The rule for patches has {figure(*spec.fraction)} here; that it travels to this setting is "
            f"{'not refuted' if travels else 'refuted'} (limit 1)."
        )
    said.append("Only these claims were preregistered, so nothing is corrected; the other lines are a description.")
    return " ".join(each for each in said if each)
