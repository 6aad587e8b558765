"""How well each score follows the truth of a world, as figures and as a table."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from scipy.stats import spearmanr

from vlmatch.evidence.correlation import spearman
from vlmatch.evidence.record import SIZE
from vlmatch.evidence.replay import Figure, known, rank_correlation, replay
from vlmatch.evidence.rules import Rule
from vlmatch.evidence.worlds import Floats, World
from vlmatch_study.findings.holm import holm
from vlmatch_study.tables import figure, probability, table

LEVEL = 0.05


@dataclass(frozen=True)
class Followed:
    """How well one score orders encoders by truth, and what picking by it costs in random pools.

    spearman: with its interval over families. p: two-sided, as if encoders were independent; corrected: for the number
    of scores. regrets: by the size of the pools, as fractions of a random pick's; empty if it was not asked for.
    """

    rule: Rule
    spearman: Figure
    p: float
    corrected: float
    regrets: Mapping[int, Figure]

    @property
    def regret(self) -> Figure:
        """The regret in pools of 8."""
        return self.regrets.get(SIZE, Figure(None))

    @property
    def significant(self) -> bool:
        """Whether the score correlates with the truth significantly, the right way or the wrong way round."""
        return self.corrected <= LEVEL


def followed(
    world: World, rules: Sequence[Rule], priced: Sequence[Rule], sizes: Sequence[int] = (SIZE,)
) -> list[Followed]:
    """How well each score orders the encoders of a world, corrected by Holm's method for the number of scores.

    priced: the scores whose interval and regrets are wanted. sizes: of the pools of these regrets. Scores that are
    equal for all encoders are left out.
    """
    truth = world.mean_truth
    correlations = {
        rule: rank_correlation(world, rule) if rule in priced else Figure(spearman(_goodness(world, rule), truth))
        for rule in known(world, rules)
    }
    correlations = {rule: each for rule, each in correlations.items() if each.value is not None}
    p_values = [float(spearmanr(_goodness(world, rule), truth).pvalue) for rule in correlations]
    regrets: dict[str, dict[int, Figure]] = {}
    for size in sizes:
        for outcome in replay(world, priced, "random", size):
            regrets.setdefault(outcome.rule, {})[size] = outcome.fraction
    return [
        Followed(rule, correlation, p, corrected, regrets.get(rule.name, {}))
        for (rule, correlation), p, corrected in zip(correlations.items(), p_values, holm(p_values), strict=True)
    ]


def scores_table(found: Sequence[Followed]) -> str:
    """The table of scores, the least regret in pools of 8 first: a line for each."""
    sizes = list(found[0].regrets) if found else []
    rows = [
        [
            each.rule.title,
            figure(*each.spearman),
            probability(each.p),
            probability(each.corrected),
            *(figure(*each.regrets[size]) for size in sizes),
        ]
        for each in sorted(found, key=lambda each: each.regret.value or 0.0)
    ]
    return table(["score", "Spearman", "p", "p by Holm", *(f"regret, pools of {size}" for size in sizes)], rows)


def _goodness(world: World, rule: Rule) -> Floats:
    """The rule's value of each encoder, more is better: (n,)."""
    return rule.values({need: world.values[need] for need in rule.needs})
