"""Mutual nearest neighbours of standardised features, where no feature counts more than another."""

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from vlmatch.errors import VlmatchError
from vlmatch.geometry import Geometry, PairedGeometry
from vlmatch.scores.mutual_nn import MutualNN


@dataclass(frozen=True)
class MutualNNStandardised(MutualNN):
    """`mutual_nn` after each feature of both sides was centred and divided by its standard deviation.

    Neighbours are those with the smallest angle as seen from the mean. A feature that is constant counts as 0.
    Everything else is as for `mutual_nn`. This variant is ours.
    """

    title: ClassVar[str] = "MutualNN std."
    version: ClassVar[int] = 1

    def overlaps(self, pair: PairedGeometry) -> NDArray[np.int64]:
        """(n,): how many of their k nearest neighbours the image and the caption of pair i have in common, 0 to k."""
        return super().overlaps(pair.derived(_standardised_pair))


def _standardised_pair(pair: PairedGeometry) -> PairedGeometry:
    sides = pair.image.derived(_standardised, "image"), pair.text.derived(_standardised, "text")
    return PairedGeometry(*sides, pair.spec, pair.labels)


def _standardised(side: Geometry, kind: str) -> Geometry:
    from sklearn.preprocessing import StandardScaler  # here, since importing scikit-learn takes half a second

    features = StandardScaler().fit_transform(side.embeddings)
    if not features.any(axis=1).all():
        raise VlmatchError(
            f"score '{MutualNNStandardised.title}': one of the {kind} embeddings equals their mean and has no "
            "direction from it, wanted embeddings that differ from their mean; leave the score out"
        )
    return Geometry.angular(features, kind=kind)
