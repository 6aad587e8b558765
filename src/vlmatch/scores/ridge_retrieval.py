"""Retrieval by a ridge: does the prediction from an image find the image's caption, and a caption its image?"""

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from vlmatch.geometry import PairedGeometry
from vlmatch.scores.base import Score, ScoreResult, require_option, require_pairs
from vlmatch.scores.ridge import Prediction, predictions

DEPTHS = (1, 5, 10)


@dataclass(frozen=True)
class RidgeRetrieval(Score):
    """Recall at 5, averaged over both directions, among the held-out pairs of each fold of the ridge of `ridge_r2`.

    The ridge predicts 50 principal components of a caption from its image. Predictions and captions of a fold's test
    pairs are compared by their cosine. An image finds its caption at k if fewer than k of the other captions are as
    near to its prediction or nearer, so that ties never help; a caption finds its image likewise. The details are the
    recall at 1, 5 and 10 in both directions, and `chance`, the recall at 5 of guessing. Recall is averaged over pairs.
    Range [0, 1], larger is better. The folds depend on the order of the pairs, and recall on the number of pairs, as in
    any retrieval. Time as for `ridge_r2`.
    """

    components: int = 50
    folds: int = 5

    title: ClassVar[str] = "Retrieval"
    version: ClassVar[int] = 1
    higher_is_better: ClassVar[bool] = True
    uses: ClassVar[tuple[str, ...]] = ("images", "captions", "pairing")

    def __post_init__(self) -> None:
        require_option(self.title, "components", self.components, 1)
        require_option(self.title, "folds", self.folds, 2)

    def __call__(self, pair: PairedGeometry) -> ScoreResult:
        """Score `pair`, of more than 5 test pairs in each fold: among 5, everything is found at 5."""
        require_pairs(self.title, pair, 6 * self.folds)
        found = pair.derived(predictions, self.components, self.folds)
        ranks = [np.concatenate(way) for way in zip(*map(_ranks, found), strict=True)]
        recall = {
            f"{way}_at_{depth}": float((rank < depth).mean())
            for way, rank in zip(("image_to_caption", "caption_to_image"), ranks, strict=True)
            for depth in DEPTHS
        }
        value = (recall["image_to_caption_at_5"] + recall["caption_to_image_at_5"]) / 2
        return ScoreResult(value, {**recall, "chance": float(np.mean([5 / len(fold.test) for fold in found]))})


def _ranks(fold: Prediction) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
    """(t,) for each direction: how many of the others are as near as the right one or nearer."""
    cosines = _directions(fold.predicted) @ _directions(fold.truth).T
    right = np.diag(cosines)
    return (cosines >= right[:, None]).sum(axis=1) - 1, (cosines >= right).sum(axis=0) - 1


def _directions(rows: NDArray[np.float64]) -> NDArray[np.float64]:
    """Rows scaled to norm 1; a row of zeros, which has no direction, stays."""
    norms = np.linalg.norm(rows, axis=1, keepdims=True)
    return rows / np.where(norms > 0, norms, 1)
