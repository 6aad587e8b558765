"""RankMe: the effective rank of the image features by the entropy of their singular values."""

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray
from scipy.linalg import svdvals

from vlmatch.geometry import Geometry, PairedGeometry
from vlmatch.scores.base import Score, ScoreResult

EPSILON = 1e-7


@dataclass(frozen=True)
class RankMe(Score):
    """exp(-sum of p log p), p = s / (sum of s) + 1e-7, s the singular values of the image features as they are.

    Garrido et al. (2023), equation 3: not centred, singular values and not eigenvalues. A baseline without captions.
    Range about [1, min(n, d)], larger counts as better. Time O(n d min(n, d)), memory O(n d).
    """

    title: ClassVar[str] = "RankMe"
    version: ClassVar[int] = 1
    higher_is_better: ClassVar[bool] = True
    uses: ClassVar[tuple[str, ...]] = ("images",)

    def __call__(self, pair: PairedGeometry) -> ScoreResult:
        """Score `pair`, of n >= 2 pairs."""
        shares = pair.image.derived(_shares) + EPSILON
        return ScoreResult(float(np.exp(-(shares * np.log(shares)).sum())))


def _shares(images: Geometry) -> NDArray[np.float64]:
    values: NDArray[np.float64] = svdvals(images.compact / np.abs(images.compact).max())
    return values / values.sum()
