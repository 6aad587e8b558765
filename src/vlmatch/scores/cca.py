"""Canonical correlation analysis between the leading principal components of both spaces."""

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray
from scipy.linalg import svd, svdvals

from vlmatch.geometry import PairedGeometry
from vlmatch.scores.base import ScoreResult, require_option, require_pairs


@dataclass(frozen=True)
class CCA:
    """Mean canonical correlation of both spaces' centred projections to 50 principal components.

    Hotelling (1936); reduced by PCA first as in SVCCA (Raghu et al., 2017), with a fixed number of components,
    since with more dimensions than pairs every canonical correlation is 1. For the same reason the number
    means little unless n is well above 100. Fewer components are taken where a side has fewer that are
    not zero; `image_components` and `text_components` say how many. Range [0, 1], larger is better.
    Time O(n d min(n, d)), memory O(n d).
    """

    components: int = 50

    title: ClassVar[str] = "CCA"
    version: ClassVar[int] = 1
    higher_is_better: ClassVar[bool] = True
    uses_pairing: ClassVar[bool] = True

    def __post_init__(self) -> None:
        require_option(self.title, "components", self.components, 1)

    def __call__(self, pair: PairedGeometry) -> ScoreResult:
        """Score `pair`, of n >= 3 pairs: with two, each side is a line through both points."""
        require_pairs(self.title, pair, 3)
        images = self._whitened_components(pair.image.embeddings)
        captions = self._whitened_components(pair.text.embeddings)
        details = {"image_components": images.shape[1], "text_components": captions.shape[1]}
        correlations = svdvals(images.T @ captions)
        return ScoreResult(float(np.minimum(correlations, 1).mean()), details)

    def _whitened_components(self, embeddings: NDArray[np.float64]) -> NDArray[np.float64]:
        """Principal component scores scaled to norm 1: left singular vectors, (n, at most `components`)."""
        left, values, _ = svd(embeddings - embeddings.mean(axis=0), full_matrices=False)
        rank = int((values > values[0] * max(embeddings.shape) * np.finfo(np.float64).eps).sum())
        return left[:, : min(rank, self.components)]
