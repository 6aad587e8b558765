"""Representational similarity analysis: do both spaces order their distances alike?"""

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray
from scipy.stats import rankdata

from vlmatch.errors import VlmatchError
from vlmatch.geometry import Geometry, PairedGeometry, upper_triangle
from vlmatch.scores.base import Score, ScoreResult, require_pairs


@dataclass(frozen=True)
class RSA(Score):
    """Spearman correlation between the off-diagonal distances of both spaces.

    Kriegeskorte et al. (2008). Range [-1, 1], larger is better. Time O(n^2 log n), memory O(n^2).
    """

    title: ClassVar[str] = "RSA"
    version: ClassVar[int] = 1
    squares: ClassVar[int] = 32
    higher_is_better: ClassVar[bool] = True
    uses: ClassVar[tuple[str, ...]] = ("images", "captions", "pairing")

    def __call__(self, pair: PairedGeometry) -> ScoreResult:
        """Score `pair`, of n >= 3 pairs; raises VlmatchError if all distances of one side are equal."""
        require_pairs(self.title, pair, 3)
        images, captions = pair.image.derived(_ranks, "image"), pair.text.derived(_ranks, "text")
        return ScoreResult(float(np.clip(images @ captions, -1, 1)))


def _ranks(side: Geometry, kind: str) -> NDArray[np.float64]:
    """Ranks of the off-diagonal distances, centred and scaled to norm 1: their product is Spearman's correlation."""
    distances = upper_triangle(side.distances)
    if np.ptp(distances) == 0:
        raise VlmatchError(
            f"score '{RSA.title}': all {kind} distances are {distances[0]:.6g}, wanted different distances, "
            "because equal ones have no order; add pairs or leave the score out"
        )
    ranks = rankdata(distances)
    ranks -= ranks.mean()
    normalised: NDArray[np.float64] = ranks / np.linalg.norm(ranks)
    return normalised
