"""Debiased centred kernel alignment of directions from the mean; its expectation is 0 for noise of any dimension."""

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from vlmatch.errors import VlmatchError
from vlmatch.geometry import Geometry, PairedGeometry
from vlmatch.scores.base import Score, ScoreResult, require_pairs


@dataclass(frozen=True)
class CKADebiased(Score):
    """Linear CKA with the unbiased HSIC, of embeddings that are centred and then scaled to length 1::

        HSIC(K, L) / (HSIC(K, K) HSIC(L, L))^(1/2)
        HSIC(K, L) = (tr K L + 1'K1 1'L1 / ((n - 1)(n - 2)) - 2 / (n - 2) 1'K L 1) / (n (n - 3))

    K and L are the cosines between directions from the mean, with 0 on the diagonal: Song et al. (2012), equation 5, in
    the alignment of Kornblith et al. (2019). Unlike `cka` it does not grow with the dimension of the embeddings.
    Neither a few long embeddings nor a direction that all captions share can dominate it. Its expectation for unrelated
    spaces is 0. Range [-1, 1], larger is better. Time O(n^2 d), memory O(n^2 + n d).
    """

    title: ClassVar[str] = "CKA debiased"
    version: ClassVar[int] = 1
    squares: ClassVar[int] = 58
    higher_is_better: ClassVar[bool] = True
    uses: ClassVar[tuple[str, ...]] = ("images", "captions", "pairing")

    def __call__(self, pair: PairedGeometry) -> ScoreResult:
        """Score `pair`, of n >= 4 pairs; raises VlmatchError if all cosines of one side are equal."""
        require_pairs(self.title, pair, 4)
        images, captions = pair.image.derived(_kernel, "image"), pair.text.derived(_kernel, "text")
        return ScoreResult(float(np.clip(np.vdot(images, captions), -1, 1)))


def _kernel(side: Geometry, kind: str) -> NDArray[np.float64]:
    """The cosines, U-centred and scaled to norm 1, so that the score is the product of two such matrices.

    U-centring (Szekely and Rizzo, 2014) subtracts means of rows and columns that leave out the diagonal. The product of
    two such matrices is n (n - 3) times the HSIC above.
    """
    n = len(side)
    directions = side.centred.embeddings
    directions = directions / np.abs(directions).max(axis=1, keepdims=True)
    directions /= np.linalg.norm(directions, axis=1, keepdims=True)
    kernel = directions @ directions.T
    np.fill_diagonal(kernel, 0)
    rows = kernel.sum(axis=1)
    kernel += rows.sum() / ((n - 1) * (n - 2)) - (rows[:, None] + rows) / (n - 2)
    np.fill_diagonal(kernel, 0)
    norm = np.linalg.norm(kernel)
    if norm < 1e-9 * n:
        raise VlmatchError(
            f"score '{CKADebiased.title}': after centring, all angles between {kind} embeddings are equal, "
            "wanted different angles; add pairs or leave the score out"
        )
    kernel /= norm
    return kernel
