"""CKNNA: kernel alignment that counts only neighbours which an image and its caption have in common."""

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from vlmatch.errors import VlmatchError
from vlmatch.geometry import Geometry, PairedGeometry
from vlmatch.scores.base import Score, ScoreResult, require_option, require_pairs
from vlmatch.scores.mutual_nn import is_neighbour

Matrix = NDArray[np.float64]


@dataclass(frozen=True)
class CKNNA(Score):
    """Centred kernel nearest-neighbour alignment: unbiased CKA where kernels are 0 except between mutual neighbours.

    Huh et al. (2024), `cknna` in platonic-rep, unbiased. K and L hold the cosines of images and captions, M_K and M_L
    are 1 where column j is among the k nearest of row i, and HSIC is that of Song et al. (2012), equation 5::

        S(K, L) = HSIC(M_K M_L K, M_K M_L L),    CKNNA = S(K, L) / (S(K, K) S(L, L))^(1/2)

    They add 1e-6 to the denominator, which would make the score depend on n; here nothing is added. Neighbours and ties
    are those of `mutual_nn`. Range about [0, 1], larger is better. Time O(n^3), memory O(n^2).
    """

    k: int = 10

    title: ClassVar[str] = "CKNNA"
    version: ClassVar[int] = 1
    higher_is_better: ClassVar[bool] = True
    uses: ClassVar[tuple[str, ...]] = ("images", "captions", "pairing")

    def __post_init__(self) -> None:
        require_option(self.title, "k", self.k, 2)

    def __call__(self, pair: PairedGeometry) -> ScoreResult:
        """Score `pair`, of n >= k + 2 pairs; raises VlmatchError where a side's own alignment is not positive."""
        require_pairs(self.title, pair, max(self.k + 2, 4))
        sides = pair.image, pair.text
        cosines = [side.derived(_cosines) for side in sides]
        masks = [side.derived(is_neighbour, self.k) for side in sides]
        both = masks[0] & masks[1]
        own = [_hsic(mask * each, mask * each) for mask, each in zip(masks, cosines, strict=True)]
        for kind, value in zip(("image", "text"), own, strict=True):
            if value <= 0:
                raise VlmatchError(
                    f"score '{self.title}': the {kind} embeddings' own alignment is {value:.3g}, wanted more than 0; "
                    "choose another k or leave the score out"
                )
        return ScoreResult(_hsic(both * cosines[0], both * cosines[1]) / float(np.sqrt(own[0] * own[1])))


def _cosines(side: Geometry) -> Matrix:
    cosines: Matrix = np.cos(side.distances)
    return cosines


def _hsic(one: Matrix, other: Matrix) -> float:
    """n (n - 3) times the unbiased HSIC of two matrices (n, n) without their diagonals; they need not be symmetric."""
    n = len(one)
    one, other = (matrix - np.diag(np.diag(matrix)) for matrix in (one, other))
    total = float(np.vdot(one, other.T)) + one.sum() * other.sum() / ((n - 1) * (n - 2))
    return float(total - 2 * (one.sum(axis=0) @ other.sum(axis=1)) / (n - 2))
