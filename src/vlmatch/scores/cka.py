"""Centred kernel alignment with the linear kernel."""

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from vlmatch.geometry import Geometry, PairedGeometry
from vlmatch.scores.base import Score, ScoreResult, require_pairs


@dataclass(frozen=True)
class CKA(Score):
    """Linear CKA of the column-centred embeddings X and Y::

        |X^T Y|_F^2 / (|X^T X|_F |Y^T Y|_F) = <K, L> / (|K|_F |L|_F),   K = X X^T, L = Y Y^T

    Kornblith et al. (2019), equation for the linear kernel. This is the usual, biased estimate, which approaches 1 as
    the dimensions outgrow n. The embeddings are not normalised. Range [0, 1], larger is better. Time O(n^2 d), memory
    O(n^2 + n d).
    """

    title: ClassVar[str] = "CKA"
    version: ClassVar[int] = 1
    higher_is_better: ClassVar[bool] = True
    uses: ClassVar[tuple[str, ...]] = ("images", "captions", "pairing")

    def __call__(self, pair: PairedGeometry) -> ScoreResult:
        """Score `pair`, of n >= 3 pairs: with two, every score is 1."""
        require_pairs(self.title, pair, 3)
        images, captions = pair.image.derived(centred_kernel), pair.text.derived(centred_kernel)
        return ScoreResult(float(np.vdot(images, captions) / (np.linalg.norm(images) * np.linalg.norm(captions))))


def centred_kernel(side: Geometry) -> NDArray[np.float64]:
    """X X^T (n, n) of the centred embeddings X of one side, up to a factor."""
    centred = side.compact - side.compact.mean(axis=0)
    centred /= np.abs(centred).max()  # keeps squares in range; what is computed from it does not depend on the scale
    kernel: NDArray[np.float64] = centred @ centred.T
    return kernel
