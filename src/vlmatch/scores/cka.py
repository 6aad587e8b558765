"""Centred kernel alignment with the linear kernel."""

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from vlmatch.geometry import PairedGeometry
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
        images, captions = _centred_kernel(pair.image.embeddings), _centred_kernel(pair.text.embeddings)
        return ScoreResult(float(np.vdot(images, captions) / (np.linalg.norm(images) * np.linalg.norm(captions))))


def _centred_kernel(embeddings: NDArray[np.float64]) -> NDArray[np.float64]:
    centred = embeddings - embeddings.mean(axis=0)
    centred /= np.abs(centred).max()  # keeps squares in range; CKA does not depend on the scale
    return centred @ centred.T
