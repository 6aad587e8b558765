"""The world of a block: its encoders that have committed scores and a truth."""

from collections.abc import Sequence

from vlmatch.evidence.best import pooled_error
from vlmatch.evidence.record import SIZE
from vlmatch.evidence.rules import Rule
from vlmatch.evidence.truths import Comparison
from vlmatch.evidence.worlds import World
from vlmatch_study.rows import Row, column


def world_of(name: str, comparison: Comparison, rows: Sequence[Row], rules: Sequence[Rule]) -> World | None:
    """The world of the encoders that have a truth, with the seeds that all of them share; None for too few for a pool.

    rows: the committed scores of each encoder: encoder, family, and what the rules need.
    """
    truths = comparison.by_encoder
    kept = [dict(row) for row in rows if row["encoder"] in truths]
    names = [row["encoder"] for row in kept]
    seeds = shared_seeds(comparison, names)
    if len(kept) < SIZE or not seeds:
        return None
    by_seed = [[truths[name].by_seed[seed] for seed in seeds] for name in names]
    values = {need: column(kept, need) for rule in rules for need in rule.needs}
    error = pooled_error(comparison, len(seeds))
    return World.of(name, names, [row["family"] for row in kept], by_seed, values, error)


def shared_seeds(comparison: Comparison, names: Sequence[str]) -> tuple[int, ...]:
    """The seeds that every one of some encoders was trained with."""
    return tuple(seed for seed in comparison.seeds if all(seed in comparison.by_seed[name] for name in names))
