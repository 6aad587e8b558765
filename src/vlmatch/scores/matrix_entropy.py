"""Matrix entropy: how evenly the directions of the image features fill their space."""

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray
from scipy.special import entr

from vlmatch.geometry import Geometry, PairedGeometry
from vlmatch.scores.base import Score, ScoreResult


@dataclass(frozen=True)
class MatrixEntropy(Score):
    """-sum of l log l, l the eigenvalues of K / n, K the cosines between the image features: von Neumann's entropy.

    The matrix-based entropy of Giraldo et al. (2014) in the limit of order 1, as Skean et al. (2025) take it for layers
    of LLMs. The features are scaled to length 1 and not centred. A baseline without captions. Range [0, log min(n, d)]
    in nats, larger counts as better. Time O(n^3 + n^2 d), memory O(n^2).
    """

    title: ClassVar[str] = "Entropy"
    version: ClassVar[int] = 1
    higher_is_better: ClassVar[bool] = True
    uses: ClassVar[tuple[str, ...]] = ("images",)

    def __call__(self, pair: PairedGeometry) -> ScoreResult:
        """Score `pair`, of n >= 2 pairs."""
        return ScoreResult(float(entr(pair.image.derived(_eigenvalues)).sum()))


def _eigenvalues(images: Geometry) -> NDArray[np.float64]:
    values = np.linalg.eigvalsh(np.cos(images.distances) / len(images))
    return np.maximum(values, 0)
