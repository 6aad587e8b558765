"""Pools of candidates, drawn at random from a world of evidence, of the kinds that users choose from."""

from collections.abc import Iterator
from typing import Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

from vlmatch.evidence.worlds import LANGUAGE, TOKENS, Floats, World

Kind = Literal["random", "families", "language", "tokens"]
KINDS: dict[Kind, str] = {
    "random": "any candidates",
    "families": "at most one of a family",
    "language": "language-supervised ones only",
    "tokens": "one number of tokens only",
}
Pools = NDArray[np.intp]


def draw_pools(
    world: World, kind: Kind, size: int, count: int, rng: np.random.Generator, weights: Floats | None = None
) -> Pools | None:
    """Draw `count` pools of `size` different candidates: (count, size) indices; None if the world has too few.

    weights: (n_families,), how often each family counts (default: once). A family of weight 0 is left out; a larger
    weight makes a family likelier to be drawn. With the weights of `family_weights`, the pools are a bootstrap.
    """
    per_family = np.ones(world.n_families) if weights is None else weights
    per_candidate = per_family[world.family_numbers]
    if kind == "families":
        return _one_of_a_family(world, per_family, size, count, rng)
    groups = list(_groups(world, kind, per_candidate, size))
    if not groups:
        return None
    chances = np.array([per_candidate[group].sum() for group in groups])
    counts = rng.multinomial(count, chances / chances.sum())
    drawn = [group[_drawn(per_candidate[group], size, n, rng)] for group, n in zip(groups, counts, strict=True) if n]
    return np.concatenate(drawn)


def family_weights(n: int, rng: np.random.Generator) -> Floats:
    """How often each of n families was drawn when n of them were drawn with replacement: (n,)."""
    return np.bincount(rng.integers(n, size=n), minlength=n).astype(float)


def family_draws(families: ArrayLike, count: int, rng: np.random.Generator) -> Iterator[Pools]:
    """Yield `count` bootstraps: each draws as many families as there are, with replacement, with all their candidates.

    families: (n,), the name or number of each candidate's family. A bootstrap is the indices of candidates in rising
    order, each as often as its family was drawn.
    """
    names, numbers = np.unique(families, return_inverse=True)
    for _ in range(count):
        yield np.repeat(np.arange(len(numbers)), family_weights(len(names), rng)[numbers].astype(int))


def halved_families(world: World, least: int, rng: np.random.Generator) -> tuple[Floats, Floats] | None:
    """The weights of two halves of the families, divided at random.

    A division in which one half has fewer than `least` candidates is drawn again; None after 200 such divisions.
    """
    n = world.n_families
    for _ in range(200):
        one = np.zeros(n)
        one[rng.permutation(n)[: n // 2]] = 1
        inside = one[world.family_numbers].sum()
        if min(inside, len(world) - inside) >= least:
            return (one, 1 - one) if rng.random() < 0.5 else (1 - one, one)
    return None


def _groups(world: World, kind: Kind, weights: Floats, size: int) -> Iterator[Pools]:
    """The groups that pools are drawn from: all candidates together, or one group for each number of tokens."""
    here = weights > 0
    if kind == "language":
        here &= world.values[LANGUAGE] > 0 if LANGUAGE in world.values else False
    if kind == "tokens" and TOKENS not in world.values:
        return
    tokens = world.values[TOKENS] if kind == "tokens" else np.zeros(len(world))
    for number in np.unique(tokens[here]):
        members = np.flatnonzero(here & (tokens == number))
        if len(members) >= size:
            yield members


def _drawn(weights: Floats, size: int, count: int, rng: np.random.Generator) -> Pools:
    """Draw without replacement by weight: take the smallest of exponential variables divided by the weights."""
    waits = rng.exponential(size=(count, len(weights))) / weights
    return np.argsort(waits, axis=1)[:, :size]


def _one_of_a_family(world: World, weights: Floats, size: int, count: int, rng: np.random.Generator) -> Pools | None:
    here = np.flatnonzero(weights > 0)
    if len(here) < size:
        return None
    families = here[_drawn(weights[here], size, count, rng)]
    lots = rng.random((count, len(world)))
    members = np.empty((count, world.n_families), dtype=np.intp)
    for family in here:
        own = np.flatnonzero(world.family_numbers == family)
        members[:, family] = own[lots[:, own].argmin(axis=1)]
    return np.take_along_axis(members, families, axis=1)
