"""Ridge regression: how much of the captions' space is a linear function of the image features?"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from vlmatch.geometry import PairedGeometry
from vlmatch.scores.base import Score, ScoreResult, require_option, require_pairs

ALPHAS = np.logspace(-2, 6, 9)
CLAMP = 6.0  # standard deviations


@dataclass(frozen=True)
class RidgeR2(Score):
    """Out-of-fold R2 of a ridge regression from standardised image features to text components.

    In each of 5 shuffled folds (seed 0) the targets are the first 50 principal components of that fold's training
    captions. Features are clipped to 6 standard deviations of the training images, as for a VLM's projector. Otherwise
    a unit that is constant on the training images and large on one test image would dominate the score. Alpha is chosen
    among 1e-2 ... 1e6 by leave-one-out within the fold (RidgeCV). R2 is variance-weighted over components and averaged
    over folds. Range (-inf, 1], larger is better; predicting the mean caption gives 0. The order of the pairs
    determines the folds, so relabelling changes the number within its noise. Time O(folds n^2 (n + d)), memory O(n^2 +
    n d).
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
        from sklearn.metrics import r2_score

        r2 = [
            float(r2_score(truth, predicted, multioutput="variance_weighted"))
            for _, truth, predicted in self._predictions(pair)
        ]
        return ScoreResult(float(np.mean(r2)), {"lowest_fold": min(r2), "highest_fold": max(r2)})

    def errors(self, pair: PairedGeometry) -> NDArray[np.float64]:
        """(n,): what each pair takes off the score, so that R2 = 1 - their sum.

        It is the pair's squared error out of fold, divided by the number of folds and by the sum of squares of the
        fold's captions around their mean; 0 in a fold whose captions are all the same.
        """
        errors = np.zeros(len(pair))
        for test, truth, predicted in self._predictions(pair):
            squares = float(np.square(truth - truth.mean(axis=0)).sum())
            if squares > 0:
                errors[test] = np.square(truth - predicted).sum(axis=1) / (squares * self.folds)
        return errors

    def _predictions(
        self, pair: PairedGeometry
    ) -> Iterator[tuple[NDArray[np.intp], NDArray[np.float64], NDArray[np.float64]]]:
        """By fold: which pairs are held out, the components of their captions, and what their images predict."""
        from sklearn.model_selection import KFold  # here, since importing scikit-learn takes half a second

        require_pairs(self.title, pair, 2 * self.folds)
        images, captions = pair.image.embeddings, pair.text.embeddings
        for train, test in KFold(self.folds, shuffle=True, random_state=0).split(images):
            yield test, *self._fold(images, captions, train, test)

    def _fold(
        self,
        images: NDArray[np.float64],
        captions: NDArray[np.float64],
        train: NDArray[np.intp],
        test: NDArray[np.intp],
    ) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """The components of the captions `test`, and the prediction of a regression that is fitted to `train`."""
        from sklearn.decomposition import PCA
        from sklearn.linear_model import RidgeCV
        from sklearn.pipeline import make_pipeline
        from sklearn.preprocessing import FunctionTransformer, StandardScaler

        targets = PCA(min(self.components, len(train) - 1, captions.shape[1]), svd_solver="full").fit(captions[train])
        clipped = FunctionTransformer(np.clip, kw_args={"a_min": -CLAMP, "a_max": CLAMP})
        ridge = make_pipeline(StandardScaler(), clipped, RidgeCV(ALPHAS))
        ridge.fit(images[train], targets.transform(captions[train]))
        return targets.transform(captions[test]), ridge.predict(images[test])
