"""kNN accuracy: do an image's nearest neighbours have its label?"""

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from vlmatch.errors import VlmatchError
from vlmatch.geometry import PairedGeometry
from vlmatch.scores.base import Score, ScoreResult, require_option


@dataclass(frozen=True)
class KNNAccuracy(Score):
    """Share of the labelled images whose label is the commonest among their k nearest other labelled images.

    Nearest is the smallest angle. Of labels that are equally common, the one with the nearest image wins. Pairs without
    a label don't count; a label that occurs once can't be found. The details are the numbers of labelled pairs and of
    labels, and the share of the commonest label, which a blind guess reaches. The score does not use the captions.
    Range [0, 1], larger is better. Time and memory O(n^2).
    """

    k: int = 10

    title: ClassVar[str] = "kNN acc."
    version: ClassVar[int] = 1
    higher_is_better: ClassVar[bool] = True
    uses: ClassVar[tuple[str, ...]] = ("images", "labels")

    def __post_init__(self) -> None:
        require_option(self.title, "k", self.k, 1)

    def __call__(self, pair: PairedGeometry) -> ScoreResult:
        """Score `pair`, of at least k + 1 labelled pairs and 2 labels; raises VlmatchError otherwise."""
        labels = pair.labels or ()
        labelled = np.array([row for row, label in enumerate(labels) if label is not None], dtype=np.intp)
        names, codes = np.unique([str(labels[row]) for row in labelled], return_inverse=True)
        if len(labelled) <= self.k or len(names) < 2:
            raise VlmatchError(
                f"score '{self.title}': {len(labelled)} labelled pairs with {len(names)} labels, wanted at least "
                f"{self.k + 1} with 2; label more pairs or leave the score out"
            )
        others = pair.image.distances[np.ix_(labelled, labelled)]
        np.fill_diagonal(others, np.inf)
        nearest = codes[np.argsort(others, axis=1, kind="stable")[:, : self.k]]
        votes = (nearest[:, :, None] == nearest[:, None, :]).sum(axis=2)  # (labelled, k), for each neighbour's label
        found = np.take_along_axis(nearest, votes.argmax(axis=1)[:, None], axis=1)[:, 0]
        commonest = float(np.bincount(codes).max() / len(codes))
        details = {"labelled": len(labelled), "labels": len(names), "commonest": commonest}
        return ScoreResult(float((found == codes).mean()), details)
