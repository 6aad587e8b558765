"""The participation ratio: in how many directions do an encoder's features vary, whatever the captions say?"""

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from vlmatch.geometry import PairedGeometry
from vlmatch.scores.base import Score, ScoreResult, require_pairs
from vlmatch.scores.cka import centred_kernel


@dataclass(frozen=True)
class ParticipationRatio(Score):
    """(sum of l)^2 / sum of l^2, l the eigenvalues of the image features' covariance: an effective dimension.

    A baseline without captions: many scores order a few encoders just as this one does. Isotropic features of d
    dimensions have d; features along one line have 1. Source: Gao et al. (2017), equation for the participation ratio.
    Range [1, min(n - 1, d)], larger counts as better. Time O(n^2 d), memory O(n^2 + n d).
    """

    title: ClassVar[str] = "Part. ratio"
    version: ClassVar[int] = 1
    higher_is_better: ClassVar[bool] = True
    uses: ClassVar[tuple[str, ...]] = ("images",)

    def __call__(self, pair: PairedGeometry) -> ScoreResult:
        """Score `pair`, of n >= 3 pairs: with two, every encoder has 1."""
        require_pairs(self.title, pair, 3)
        kernel = pair.image.derived(centred_kernel)
        return ScoreResult(float(np.trace(kernel) ** 2 / np.vdot(kernel, kernel)))
