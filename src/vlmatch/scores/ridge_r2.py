"""Ridge regression: how much of the captions' space is a linear function of the image features?"""

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from vlmatch.geometry import PairedGeometry
from vlmatch.scores.base import Score, ScoreResult, require_option, require_pairs
from vlmatch.scores.ridge import Prediction, predictions


@dataclass(frozen=True)
class RidgeR2(Score):
    """Out-of-fold R2 of a ridge regression from standardised image features to text components.

    In each of 5 shuffled folds (seed 0) the targets are the first 50 principal components of that fold's training
    captions. Features are clipped to 6 standard deviations of the training images, as for a VLM's projector. Otherwise
    a unit that is constant on the training images and large on one test image would dominate the score. Alpha is chosen
    among 1e-2 ... 1e6 by leave-one-out within the fold (RidgeCV). R2 is variance-weighted over components and averaged
    over folds. Range (-inf, 1], larger is better; predicting the mean caption gives 0. The order of the pairs
    determines the folds, so another order changes the number within its noise. Time O(folds n^2 (n + d)), memory O(n^2
    + n d).
    """

    components: int = 50
    folds: int = 5

    title: ClassVar[str] = "Ridge R2"
    version: ClassVar[int] = 2
    higher_is_better: ClassVar[bool] = True
    uses: ClassVar[tuple[str, ...]] = ("images", "captions", "pairing")

    def __post_init__(self) -> None:
        require_option(self.title, "components", self.components, 1)
        require_option(self.title, "folds", self.folds, 2)

    def __call__(self, pair: PairedGeometry) -> ScoreResult:
        """Score `pair`, of at least two pairs a fold: a single pair has no variance to explain."""
        from sklearn.metrics import r2_score  # here, since importing scikit-learn takes half a second

        r2 = [
            float(r2_score(fold.truth, fold.predicted, multioutput="variance_weighted"))
            for fold in self._predictions(pair)
        ]
        return ScoreResult(float(np.mean(r2)), {"lowest_fold": min(r2), "highest_fold": max(r2)})

    def errors(self, pair: PairedGeometry) -> NDArray[np.float64]:
        """(n,): what each pair takes off the score, so that R2 = 1 - their sum.

        It is the pair's squared out-of-fold error, divided by the number of folds and by the sum of squares of the
        fold's captions around their mean; 0 in a fold whose captions are all the same.
        """
        errors = np.zeros(len(pair))
        for fold in self._predictions(pair):
            squares = float(np.square(fold.truth - fold.truth.mean(axis=0)).sum())
            if squares > 0:
                errors[fold.test] = np.square(fold.truth - fold.predicted).sum(axis=1) / (squares * self.folds)
        return errors

    def _predictions(self, pair: PairedGeometry) -> list[Prediction]:
        require_pairs(self.title, pair, 2 * self.folds)
        return pair.derived(predictions, self.components, self.folds)
