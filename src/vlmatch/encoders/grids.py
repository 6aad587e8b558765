"""The features called `gridK`: the means of an image's tokens over K x K cells, one vector after another."""

import re

_GRID = re.compile("grid([1-9])")


def grid_side(feature: str) -> int | None:
    """K of "gridK", 1 to 9; None for the name of any other feature."""
    found = _GRID.fullmatch(feature)
    return int(found[1]) if found else None


def vectors_of(feature: str) -> int:
    """How many vectors a feature of this name concatenates: K x K for "gridK", else 1."""
    return (grid_side(feature) or 1) ** 2
