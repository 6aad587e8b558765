"""How well each score follows the truth of a world."""

from collections.abc import Sequence
from dataclasses import dataclass

from scipy.stats import spearmanr

from vlmatch.evidence.correlation import spearman
from vlmatch.evidence.record import SIZE
from vlmatch.evidence.replay import Figure, Outcome, known, rank_correlation, replay
from vlmatch.evidence.rules import Rule
from vlmatch.evidence.worlds import Floats, World
from vlmatch_study.findings.holm import holm

LEVEL = 0.05


@dataclass(frozen=True)
class Followed:
    """How well one score orders encoders by truth, and what picking by it costs in pools of 8.

    spearman: with its interval over families. p: two-sided, as if encoders were independent; corrected: for the number
    of scores. regret: as a fraction of a random pick's.
    """

    rule: Rule
    spearman: Figure
    p: float
    corrected: float
    regret: Figure

    @property
    def significant(self) -> bool:
        """Whether the score correlates with the truth significantly, the right way or the wrong way round."""
        return self.corrected <= LEVEL


def followed(world: World, rules: Sequence[Rule], priced: Sequence[Rule]) -> list[Followed]:
    """How well each score orders the encoders of a world, corrected by Holm's method for the number of scores.

    priced: the scores whose interval and regret are wanted. Scores that are equal for all encoders are left out.
    """
    truth = world.mean_truth
    correlations = {
        rule: rank_correlation(world, rule) if rule in priced else Figure(spearman(_goodness(world, rule), truth))
        for rule in known(world, rules)
    }
    correlations = {rule: each for rule, each in correlations.items() if each.value is not None}
    p_values = [float(spearmanr(_goodness(world, rule), truth).pvalue) for rule in correlations]
    regrets: dict[str, Outcome] = {each.rule: each for each in replay(world, priced, "random", SIZE)}
    unknown = Figure(None)
    return [
        Followed(rule, figure, p, corrected, regrets[rule.name].fraction if rule.name in regrets else unknown)
        for (rule, figure), p, corrected in zip(correlations.items(), p_values, holm(p_values), strict=True)
    ]


def _goodness(world: World, rule: Rule) -> Floats:
    """The rule's value of each encoder, more is better: (n,)."""
    return rule.values({need: world.values[need] for need in rule.needs})
