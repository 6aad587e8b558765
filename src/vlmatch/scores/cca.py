"""Canonical correlation analysis between the leading principal components of both spaces."""

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray
from scipy.linalg import svd, svdvals

from vlmatch.geometry import Geometry, PairedGeometry
from vlmatch.scores.base import Score, ScoreResult, require_option, require_pairs


@dataclass(frozen=True)
class CCA(Score):
    """Mean canonical correlation of both spaces' centred projections to 50 principal components.

    Hotelling (1936), after PCA as in SVCCA (Raghu et al., 2017). The number of components is fixed, and at most a
    quarter of the pairs, because with as many dimensions as pairs every canonical correlation is 1. A side with fewer
    non-zero components uses those; the details `image_components` and `text_components` give the numbers used. The mean
    is over the captions' components: where the encoder has fewer, the missing correlations count as 0. Otherwise an
    encoder with three well-placed dimensions would beat one with fifty. Range [0, 1], larger is better. Time O(n d
    min(n, d)), memory O(n d).
    """

    components: int = 50

    title: ClassVar[str] = "CCA"
    version: ClassVar[int] = 2
    higher_is_better: ClassVar[bool] = True
    uses: ClassVar[tuple[str, ...]] = ("images", "captions", "pairing")

    def __post_init__(self) -> None:
        require_option(self.title, "components", self.components, 1)

    def __call__(self, pair: PairedGeometry) -> ScoreResult:
        """Score `pair`, of n >= 5 pairs: at most n / 4 components are kept, and at least one is needed."""
        require_pairs(self.title, pair, 5)
        images = pair.image.derived(whitened_components, self.components)
        captions = pair.text.derived(whitened_components, self.components)
        details = {"image_components": images.shape[1], "text_components": captions.shape[1]}
        correlations = svdvals(images.T @ captions)
        return ScoreResult(float(np.minimum(correlations, 1).sum() / captions.shape[1]), details)


def whitened_components(side: Geometry, components: int) -> NDArray[np.float64]:
    """Principal component scores scaled to norm 1: left singular vectors, (n, `components` or fewer)."""
    left, values, _ = svd(side.compact - side.compact.mean(axis=0), full_matrices=False)
    rank = int((values > values[0] * max(side.embeddings.shape) * np.finfo(np.float64).eps).sum())
    kept: NDArray[np.float64] = left[:, : min(rank, components, (len(side) - 1) // 4)].copy()
    return kept
