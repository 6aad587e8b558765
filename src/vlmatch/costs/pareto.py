"""The Pareto front: the candidates for which no other is both at least as good and at most as expensive."""

from collections.abc import Mapping, Sequence

import numpy as np

from vlmatch.costs.candidate import DECIMALS, CandidateCost
from vlmatch.errors import VlmatchError

PRICES = {"params": "parameters", "flops": "gflops", "tokens": "tokens"}
"""For each key of a budget, the attribute of `CandidateCost`."""


def pareto_front(points: Mapping[str, Sequence[float]]) -> tuple[str, ...]:
    """The names of the points that no other dominates, in the order given.

    points: by name, a value (more is better) and then one or more prices (less is better), the same number for every
    point. One point dominates another if it is nowhere worse and somewhere better; equal points do not dominate each
    other. Raises VlmatchError on points without a price, or with different numbers of prices.
    """
    if not points:
        return ()
    signs = [1, *[-1] * (_width(points) - 1)]
    places = np.array([list(point) for point in points.values()], dtype=float) * signs
    no_worse = (places[:, None] >= places[None]).all(axis=2)
    better = (places[:, None] > places[None]).any(axis=2)
    undominated = np.flatnonzero(~(no_worse & better).any(axis=0))
    names = list(points)
    return tuple(names[place] for place in undominated)


def priced(
    values: Mapping[str, float], costs: Mapping[str, CandidateCost], prices: Sequence[str]
) -> dict[str, tuple[float, ...]]:
    """By name, the value and the prices of every candidate whose prices are all known.

    prices: some of 'params', 'flops' and 'tokens'. Raises VlmatchError on another one.
    """
    unknown = [price for price in prices if price not in PRICES]
    if unknown:
        raise VlmatchError(f"price='{unknown[0]}' is not a price of a candidate; choose from {', '.join(PRICES)}")
    found = {name: [getattr(costs[name], PRICES[price]) for price in prices] for name in values}
    return {name: (round(values[name], DECIMALS), *figures) for name, figures in found.items() if None not in figures}


def _width(points: Mapping[str, Sequence[float]]) -> int:
    widths = {len(point) for point in points.values()}
    if len(widths) > 1 or min(widths) < 2:
        raise VlmatchError(f"points of {sorted(widths)} figures; give every point a value and equally many prices")
    return widths.pop()
