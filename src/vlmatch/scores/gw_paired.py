"""The paired distortion: the Gromov-Wasserstein objective at the known pairing, without any optimisation."""

import math
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from vlmatch.geometry import PairedGeometry
from vlmatch.scores.base import Score, ScoreResult


@dataclass(frozen=True)
class GWPaired(Score):
    """E^(1/2) of GW at the coupling that pairs each image with its own caption::

        (mean over all i, j of |s D^X_ij - D^Y_ij|)^(1/2)

    The mean includes the diagonal of zeros, as in GW, so the score is never below the GW optimum.
    Unit and range as for GW, smaller is better. Time and memory O(n^2).
    """

    title: ClassVar[str] = "GW paired"
    version: ClassVar[int] = 1
    higher_is_better: ClassVar[bool] = False
    uses: ClassVar[tuple[str, ...]] = ("images", "captions", "pairing")

    def __call__(self, pair: PairedGeometry) -> ScoreResult:
        """Score `pair`, of n >= 2 pairs."""
        energy = float(np.abs(pair.scaled_image_distances - pair.text.distances).mean())
        relative = math.sqrt(energy / pair.text.median)
        return ScoreResult(math.sqrt(energy), {"relative": relative, "energy": energy, "scale": pair.scale})
