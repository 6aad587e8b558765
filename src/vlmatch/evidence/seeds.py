"""How much the training seed changes the truth: the agreement between seeds, and the spread within an encoder."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from itertools import combinations
from statistics import stdev

from vlmatch.evidence.correlation import spearman
from vlmatch.evidence.truths import Comparison


@dataclass(frozen=True)
class SeedAgreement:
    """Spearman's correlation of two seeds over the `n` pretrained encoders, and over the best tier.

    A correlation is None where it is not defined.
    """

    seeds: tuple[int, int]
    n: int
    spearman: float | None
    n_best: int
    spearman_best: float | None


@dataclass(frozen=True)
class Spread:
    """Standard deviations over the pretrained encoders: between their truths, and between seeds (pooled)."""

    between_encoders: float
    between_seeds: float


def agreements(comparison: Comparison, among: Collection[str] | None = None) -> list[SeedAgreement]:
    """For every two seeds, how similarly they order the encoders that were trained with both.

    among: only these encoders count; None: all count.
    """
    return [_agreement(comparison, *pair, among) for pair in combinations(comparison.seeds, 2)]


def spread(comparison: Comparison) -> Spread | None:
    """The spread between encoders and between seeds.

    None if there are fewer than two pretrained encoders, or none of them has two seeds. The deviation between encoders
    includes what seeds and items add to it.
    """
    pretrained, between_seeds = comparison.pretrained, comparison.between_seeds
    if len(pretrained) < 2 or between_seeds is None:
        return None
    return Spread(stdev(truth.mean for truth in pretrained), between_seeds)


def _agreement(comparison: Comparison, one: int, other: int, among: Collection[str] | None) -> SeedAgreement:
    both = {}
    for truth in comparison.pretrained:
        by_seed = truth.by_seed
        if {one, other} <= by_seed.keys() and (among is None or truth.encoder in among):
            both[truth.encoder] = (by_seed[one], by_seed[other])
    best = [both[truth.encoder] for truth in comparison.best_tier if truth.encoder in both]
    return SeedAgreement((one, other), len(both), _correlated(list(both.values())), len(best), _correlated(best))


def _correlated(pairs: Sequence[tuple[float, float]]) -> float | None:
    return spearman([one for one, _ in pairs], [other for _, other in pairs])
