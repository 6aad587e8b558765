"""Find odd rows of VTBenchLab's table, by criteria that do not depend on how results would change without them."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

FROM_FAMILY = 3.5  # studentised residuals
FROM_ALL = 5.0  # robust deviations
SAME = 0.015  # of the value
Floats = NDArray[np.float64]


@dataclass(frozen=True)
class OddRow:
    """An encoder whose row looks odd, and by which criterion."""

    encoder: str
    why: str


def odd_rows(
    names: Sequence[str], families: Sequence[str], columns: Mapping[str, Floats], sizes: Sequence[Floats]
) -> list[OddRow]:
    """Every odd row with every reason, in the order of names.

    Three criteria: (1) a column has a studentised residual of more than 3.5 under a linear model with one constant for
    each family and slopes for the logarithms of `sizes` (width and tokens); (2) the only member of its family has a
    column more than 5 robust deviations off the median of all; (3) every column but the truth is within 1.5% of that of
    an earlier row of another family with the same sizes: perhaps the same encoder under two names.
    """
    dummies = np.array([[family == each for each in sorted(set(families))] for family in families], dtype=float)
    design = np.column_stack([dummies, *(np.log2(size) for size in sizes)])
    alone = dummies @ dummies.sum(axis=0) == 1
    found: dict[str, list[str]] = {name: [] for name in names}
    for column, values in columns.items():
        residuals, deviations = studentised(design, values), np.where(alone, robust(values), 0)
        for name, residual, deviation in zip(names, residuals, deviations, strict=True):
            if abs(residual) > FROM_FAMILY:
                found[name].append(f"{column} {residual:+.1f} residuals off its family")
            if abs(deviation) > FROM_ALL:
                found[name].append(f"{column} {deviation:+.1f} robust deviations off all")
    scores = np.column_stack([values for column, values in columns.items() if column != "truth"])
    for row, name in enumerate(names):
        near = (np.abs(scores[:row] - scores[row]) <= SAME * np.abs(scores[row])).all(axis=1)
        near &= np.all([size[:row] == size[row] for size in sizes], axis=0)
        twins = [names[other] for other in map(int, np.flatnonzero(near)) if families[other] != families[row]]
        found[name] += [f"every score within {SAME:.1%} of {twin}" for twin in twins]
    return [OddRow(name, "; ".join(reasons)) for name, reasons in found.items() if reasons]


def studentised(design: Floats, values: Floats) -> Floats:
    """Externally studentised residuals of least squares: (n,); 0 for a row that determines its own fit."""
    hat = design @ np.linalg.pinv(design)
    residual, free = values - hat @ values, 1 - np.diag(hat)
    freedom = len(values) - np.linalg.matrix_rank(design)
    decided = free > 1e-9
    scaled = residual[decided] / np.sqrt(free[decided] * (residual @ residual) / freedom)
    found = np.zeros(len(values))
    found[decided] = scaled * np.sqrt((freedom - 1) / np.maximum(freedom - scaled**2, 1e-12))
    return found


def robust(values: Floats) -> Floats:
    """Deviations from the median in units of 1.4826 times the median absolute deviation: (n,)."""
    off = values - np.median(values)
    deviations: Floats = off / (1.4826 * np.median(np.abs(off)))
    return deviations
