"""Choose a rule on one half of the families, and measure on the other half how well that works."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from vlmatch.evidence.pools import Kind, halved_families
from vlmatch.evidence.replay import Drawn, Figure, drawn, interval, known
from vlmatch.evidence.rules import Rule
from vlmatch.evidence.worlds import Floats, World

SPLITS, POOLS_OF_A_SPLIT = 200, 300


@dataclass(frozen=True)
class Choosing:
    """How well it works to choose the rule with the least regret, over random divisions of the families into halves.

    splits: how many divisions were measured. chosen: how often each rule was chosen. fraction: the regret on the other
    half as a fraction of a random pick's, pooled over divisions; its interval holds 95% of the divisions. first_three:
    how often a good candidate was among the first three. by_rule: the fraction on the other halves for each rule by
    itself, whether it was chosen or not. above_first: each rule's fraction minus the first rule's in the same pools.
    """

    size: int
    splits: int
    chosen: Mapping[str, int]
    fraction: Figure
    first_three: Figure
    by_rule: Mapping[str, Figure]
    above_first: Mapping[str, Figure]


def choose(world: World, rules: Sequence[Rule], size: int, *, kind: Kind = "random", seed: int = 0) -> Choosing | None:
    """Choose on one random half of the families and measure on pools of the other half, 200 times.

    Halves of fewer than `size` + 2 candidates are drawn again. None if no division is possible.
    """
    rng = np.random.default_rng(seed)
    usable = known(world, rules)
    tables = []  # of each division, on the other half: (rules, 3) with what `_measured` gives
    choices = []
    for _ in range(SPLITS):
        parts = halved_families(world, size + 2, rng)
        halves = [drawn(world, kind, size, rng, POOLS_OF_A_SPLIT, weights) for weights in parts or ()]
        if len(halves) < 2 or halves[0] is None or halves[1] is None:
            continue
        choices.append(int(np.argmin([_measured(halves[0], rule)[0] for rule in usable])))
        tables.append([_measured(halves[1], rule) for rule in usable])
    if not tables:
        return None
    table = np.array(tables)
    own = table[np.arange(len(table)), choices]
    counts = Counter(usable[choice].name for choice in choices)
    return Choosing(
        size,
        len(table),
        dict(counts.most_common()),
        _fraction(own[:, 0], own[:, 1]),
        Figure(float(own[:, 2].mean()), *interval(own[:, 2])),
        {rule.name: _fraction(table[:, place, 0], table[:, place, 1]) for place, rule in enumerate(usable)},
        {
            rule.name: _fraction(table[:, place, 0] - table[:, 0, 0], table[:, place, 1])
            for place, rule in enumerate(usable[1:], 1)
        },
    )


def _measured(pools: Drawn, rule: Rule) -> tuple[float, float, float]:
    """The rule's mean regret, a random pick's mean regret, and how often a good candidate is among the first three."""
    regret, found = pools.outcome(pools.order(rule)).mean(axis=1)
    return float(regret), float(pools.random_regret.mean()), float(found)


def _fraction(regrets: Floats, at_random: Floats) -> Figure:
    return Figure(float(regrets.sum() / at_random.sum()), *interval(regrets / at_random))
