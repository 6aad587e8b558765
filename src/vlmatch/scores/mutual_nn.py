"""Mutual nearest neighbours: do an image and its caption have the same neighbours?"""

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from vlmatch.geometry import Geometry, PairedGeometry
from vlmatch.scores.base import Score, ScoreResult, require_option, require_pairs


@dataclass(frozen=True)
class MutualNN(Score):
    """Mean share of the k nearest neighbours that an image and its caption have in common.

    Huh et al. (2024), `mutual_knn` in platonic-rep. They take neighbours by the inner product of L2-normalised
    embeddings without the item itself; this score takes those with the smallest angle, which gives the same order. Two
    things differ: they clamp features at the .95 quantile of |x|, and this score does not; they report the best pair of
    layers, and this score uses one pair of layers that is chosen beforehand. Ties keep the order of the items. Range
    [0, 1], larger is better; guessing gives k / (n - 1). Time and memory O(n^2).
    """

    k: int = 10

    title: ClassVar[str] = "MutualNN"
    version: ClassVar[int] = 1
    higher_is_better: ClassVar[bool] = True
    uses: ClassVar[tuple[str, ...]] = ("images", "captions", "pairing")

    def __post_init__(self) -> None:
        require_option(self.title, "k", self.k, 1)

    def __call__(self, pair: PairedGeometry) -> ScoreResult:
        """Score `pair`, of n >= k + 2 pairs: with k + 1 pairs all items are neighbours of each other."""
        return ScoreResult(float(self.overlaps(pair).mean() / self.k), {"chance": self.k / (len(pair) - 1)})

    def overlaps(self, pair: PairedGeometry) -> NDArray[np.int64]:
        """(n,): how many of their k nearest neighbours the image and the caption of pair i have in common, 0 to k."""
        require_pairs(self.title, pair, self.k + 2)
        shared = pair.image.derived(is_neighbour, self.k) & pair.text.derived(is_neighbour, self.k)
        return shared.sum(axis=1)


def is_neighbour(side: Geometry, k: int) -> NDArray[np.bool_]:
    """(n, n): whether column j is one of row i's k nearest; ties keep the order of the items."""
    others = side.distances.copy()
    np.fill_diagonal(others, np.inf)
    furthest = np.partition(others, k - 1, axis=1)[:, k - 1 : k]  # faster than sorting all
    mask = others < furthest
    ties = others == furthest
    missing = k - mask.sum(axis=1, keepdims=True)
    mask |= ties & (ties.cumsum(axis=1, dtype=np.int32) <= missing)
    return mask
