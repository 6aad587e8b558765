"""What a block of a few new encoders can show: `python -m vlmatch_study.evidence.block_size` prints it (half a minute).

A simulated block is a draw from our 32 encoders, whose truth is known from two seeds.
"""

from collections.abc import Callable, Sequence
from dataclasses import replace

import numpy as np

from vlmatch.evidence.replay import drawn, interval
from vlmatch.evidence.rules import NEIGHBOURS, Rule, single
from vlmatch.evidence.worlds import Floats, World
from vlmatch_study.evidence.new_members import families
from vlmatch_study.evidence.worlds import embedded

BLOCKS, POOLS, SIZE = 400, 1000, 8
REFUTED = 0.5  # of random's regret: a rule that loses more is not worth following (study/preregistration.md)
RULES = (NEIGHBOURS, single("participation_ratio", "participation ratio"))


def main() -> None:
    """Print the regret of both rules in simulated blocks, with the encoders' own truths and with permuted ones."""
    world, encoders = embedded(), len(families())
    for title, truths in (("as among the 32", as_it_is), ("a rule that knows nothing", shuffled)):
        found = fractions(world, encoders, RULES, truths)
        print(f"{encoders} encoders, {title}:")
        for rule, values in zip(RULES, found.T, strict=True):
            print(f"  {rule.title} {_figure(values)}, below {REFUTED} in {(values < REFUTED).mean():.0%}")
        print(f"  the second minus the first {_figure(found[:, 1] - found[:, 0])}")


def fractions(
    world: World,
    encoders: int,
    rules: Sequence[Rule],
    truths: Callable[[World, np.random.Generator], World],
    *,
    blocks: int = BLOCKS,
    seed: int = 0,
) -> Floats:
    """The regret in pools of 8 as a fraction of random's, for each simulated block and rule: (blocks, rules).

    encoders: how many of the world's encoders a block has; they are drawn without replacement. truths: returns a block
    with its own truths, or with changed ones.
    """
    rng, found = np.random.default_rng(seed), []
    for _ in range(blocks):
        left_out = rng.permutation(world.names)[encoders:]
        pools = drawn(truths(world.without(list(left_out), "block"), rng), "random", SIZE, rng, POOLS)
        if pools is not None:
            lost = [pools.outcome(pools.order(rule))[0].mean() for rule in rules]
            found.append(np.array(lost) / pools.random_regret.mean())
    return np.array(found)


def as_it_is(block: World, rng: np.random.Generator) -> World:
    """The block with its own truth."""
    return block


def shuffled(block: World, rng: np.random.Generator) -> World:
    """The block with its truths permuted at random, so that no score can predict them."""
    return replace(block, truth=block.truth[rng.permutation(len(block))])


def _figure(values: Floats) -> str:
    low, high = interval(values)
    return f"{np.median(values):.2f} [{low:.2f}, {high:.2f}], deviation {values.std():.3f}"


if __name__ == "__main__":
    main()
