"""Rules that choose encoders: the mean, over some ingredients, of a candidate's rank in its pool."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache

import numpy as np
from numpy.typing import ArrayLike
from scipy.stats import rankdata

from vlmatch.errors import VlmatchError
from vlmatch.evidence.worlds import Floats


@dataclass(frozen=True)
class Ingredient:
    """A score or a line of the spec sheet by its name, and whether more of it is better."""

    name: str
    higher_is_better: bool = True


@dataclass(frozen=True)
class Rule:
    """A rule: its name, its title in words and its ingredients, which all have the same weight."""

    name: str
    title: str
    ingredients: tuple[Ingredient, ...]

    @property
    def needs(self) -> tuple[str, ...]:
        """The names of the ingredients."""
        return tuple(ingredient.name for ingredient in self.ingredients)

    def values(self, pool: Mapping[str, ArrayLike]) -> Floats:
        """The rule's value of each candidate of a pool, in [0, 1]: 1 is the best in every ingredient.

        pool: by ingredient, its value for each candidate: (..., size). Candidates are along the last axis, pools along
        the others. A rule's value is the mean over ingredients of the fractional rank: 1 for the best, 0 for the worst,
        (rank - 1) / (size - 1) between; ties share the mean of their ranks. A pool of one gives 1.
        Raises VlmatchError if an ingredient is missing or not finite.
        """
        ranks = [fractional_ranks(self._of(pool, each), each.higher_is_better) for each in self.ingredients]
        return np.mean(ranks, axis=0)

    def _of(self, pool: Mapping[str, ArrayLike], ingredient: Ingredient) -> Floats:
        if ingredient.name not in pool:
            raise VlmatchError(
                f"rule '{self.name}' needs {ingredient.name}, but the pool has {', '.join(pool) or 'no values'}; "
                "compute it too"
            )
        values = np.asarray(pool[ingredient.name], dtype=float)
        if not np.isfinite(values).all():
            raise VlmatchError(
                f"rule '{self.name}': {ingredient.name} of {int((~np.isfinite(values)).sum())} candidates is missing "
                "or not finite; compute it for every candidate, or leave them out"
            )
        return values


def fractional_ranks(values: ArrayLike, higher_is_better: bool = True) -> Floats:
    """Ranks along the last axis from 0 (worst) to 1 (best); ties share the mean, a single candidate has 1."""
    table = np.asarray(values, dtype=float)
    size = table.shape[-1]
    if size == 1:
        return np.ones_like(table)
    ranks: Floats = (rankdata(table if higher_is_better else -table, axis=-1) - 1) / (size - 1)
    return ranks


@cache
def single(name: str, title: str, higher_is_better: bool = True) -> Rule:
    """The rule that takes one score or one line of the spec sheet as it is."""
    return Rule(name, title, (Ingredient(name, higher_is_better),))


def joined(name: str, title: str, rules: Sequence[Rule]) -> Rule:
    """The rule that has all ingredients of these rules, each with the same weight."""
    return Rule(name, title, tuple(ingredient for rule in rules for ingredient in rule.ingredients))


SPEC = Rule("spec", "spec sheet", tuple(map(Ingredient, ("language_supervised", "width", "tokens"))))
RIDGE = single("ridge_r2", "ridge R2")
NEIGHBOURS = single("mutual_nn", "MutualNN")
BOTH = joined("ridge_mutual", "ridge R2 and MutualNN", (RIDGE, NEIGHBOURS))
CANDIDATES = (
    SPEC,
    joined("spec_ridge", "spec sheet and ridge R2", (SPEC, RIDGE)),
    joined("spec_mutual", "spec sheet and MutualNN", (SPEC, NEIGHBOURS)),
    joined("spec_both", "spec sheet, ridge R2 and MutualNN", (SPEC, BOTH)),
    RIDGE,
    NEIGHBOURS,
    BOTH,
)
"""The rules to choose from for each setting: the spec sheet alone, with one score or both, and the scores alone."""
