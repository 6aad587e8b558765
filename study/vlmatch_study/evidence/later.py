"""What the frozen rules gave among the encoders of block 3, whose VLMs were trained after the rules were frozen."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from vlmatch import paths
from vlmatch.evidence.record import SIZE, Later, record
from vlmatch.evidence.replay import TIE, Drawn, Figure, Outcome, difference, drawn, replay, resampled
from vlmatch.evidence.rules import CANDIDATES, NEIGHBOURS, SPEC, Rule, single
from vlmatch.evidence.shortlists import coverage
from vlmatch.evidence.truths import Comparison
from vlmatch.evidence.worlds import Floats
from vlmatch_study.blocks.block import Block
from vlmatch_study.blocks.worlds import shared_seeds, world_of
from vlmatch_study.rows import Row, read

RATIO = single("participation_ratio", "participation ratio")
SPEC_RIDGE = next(rule for rule in CANDIDATES if rule.name == "spec_ridge")
RULES = (
    NEIGHBOURS,
    RATIO,
    SPEC,
    SPEC_RIDGE,
    single("gw", "GW", higher_is_better=False),
    single("gw_centred", "GW, centred", higher_is_better=False),
)
"""The pooled rule, which is the primary one, then the rules that it is compared with."""
SMALLER = 5  # size of further pools, because pools of 8 from 11 families allow no interval over families
ORDERS = 1_000  # random orders that the rule's order is compared with


@dataclass(frozen=True)
class Replayed:
    """What the rules gave in pools of the new encoders; `outcomes` is empty if there are too few encoders for pools.

    size: of the pools. by_chance: the share of random orders of the encoders whose picks lose as little as the pooled
    rule's. coverage: how often the pooled rule's shortlist of the frozen margin held a good encoder. against_ratio: the
    regret of participation ratio minus the pooled rule's. ridge_adds: the regret of the spec sheet minus that of the
    spec sheet with ridge R2. Both are fractions of random's regret.
    """

    encoders: int
    families: int
    seeds: tuple[int, ...]
    size: int
    outcomes: tuple[Outcome, ...]
    by_chance: float | None
    coverage: Figure
    against_ratio: Figure
    ridge_adds: Figure

    def outcome(self, rule: str) -> Outcome | None:
        """The outcome of one rule, or of 'random'."""
        return next((each for each in self.outcomes if each.rule == rule), None)


def replayed(comparison: Comparison, rows: Sequence[Row], size: int = SIZE) -> Replayed | None:
    """Choose by each rule from random pools, as the record of evidence does; None for fewer than 8 encoders."""
    world = world_of("block3", comparison, rows, RULES)
    if world is None:
        return None
    random = np.random.default_rng(0)
    whole, again = drawn(world, "random", size, random), resampled(world, "random", size, random)
    margin = record().world("pooled").calibration("random", size)
    return Replayed(
        len(world),
        world.n_families,
        shared_seeds(comparison, world.names),
        size,
        tuple(replay(world, RULES, "random", size)),
        by_chance(whole, NEIGHBOURS) if whole else None,
        coverage(whole, again, NEIGHBOURS, margin.margin) if whole and margin else Figure(None),
        difference(world, NEIGHBOURS, RATIO, "random", size),
        difference(world, SPEC_RIDGE, SPEC, "random", size),
    )


def by_chance(pools: Drawn, rule: Rule) -> float:
    """The share of random orders of all candidates whose picks lose as little as those of a rule of one score."""
    (ingredient,) = rule.ingredients
    goodness = pools.world.values[ingredient.name] * (1 if ingredient.higher_is_better else -1)
    random = np.random.default_rng(0)
    orders = [goodness, *(random.permutation(goodness) for _ in range(ORDERS))]
    lost = [pools.best.mean() - _of_first(pools, order) for order in orders]
    return float(np.mean([each <= lost[0] + TIE for each in lost]))  # the rule's own order counts as one of them


def _of_first(pools: Drawn, goodness: Floats) -> float:
    """The mean truth of the pick of each pool: the candidate with the largest goodness."""
    at = goodness[pools.pools].argmax(axis=1)
    return float(np.take_along_axis(pools.truths, at[:, None], axis=1).mean())


def later() -> Later | None:
    """What the record says of them, with regrets as they are in the truths; None as long as there are too few."""
    block = Block.of(3, paths.root())
    if block.comparison is None:
        return None
    rows = read(block.folder / "scores.csv")
    found = [each for size in (SMALLER, SIZE) if (each := replayed(block.comparison, rows, size)) is not None]
    outcomes = tuple(outcome for each in found for outcome in each.outcomes)
    return Later(found[0].encoders, found[0].families, outcomes) if outcomes else None
