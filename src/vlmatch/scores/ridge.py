"""Cross-validated ridge regression from image features to the captions' principal components."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from vlmatch.geometry import Geometry, PairedGeometry, Rows

ALPHAS = np.logspace(-2, 6, 9)
CLAMP = 6.0  # standard deviations

Array = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Prediction:
    """One fold: the test pairs (t,), their captions' components (t, k), and the components predicted (t, k)."""

    test: Rows
    truth: Array
    predicted: Array


@dataclass(frozen=True, eq=False)
class ImageFold:
    """The images of one fold, as the eigendecomposition that solves the ridge for every alpha and target.

    With the m training images X, standardised, clipped and centred, and targets Y (m, k)::

        fitted = fit diag(1 / (values + alpha)) left^T Y,    predicted likewise with `out` in place of `fit`

    left, fit (m, r), out (t, r), values (r,): for d >= m from X X^T, else from X^T X.
    """

    left: Array
    fit: Array
    out: Array
    values: Array

    @classmethod
    def of(cls, train: Array, test: Array) -> "ImageFold":
        """From the features of the training and test images, (m, d) and (t, d)."""
        from sklearn.preprocessing import StandardScaler  # here, since importing scikit-learn takes half a second

        scaler = StandardScaler().fit(train)
        train, test = (np.clip(scaler.transform(rows), -CLAMP, CLAMP) for rows in (train, test))
        mean = train.mean(axis=0)
        train, test = train - mean, test - mean
        if len(train) <= train.shape[1]:
            kernel = train @ train.T
            values, left = np.linalg.eigh(kernel)
            return cls(left, kernel @ left, (test @ train.T) @ left, np.maximum(values, 0))
        values, axes = np.linalg.eigh(train.T @ train)
        scores = train @ axes
        return cls(scores, scores, test @ axes, np.maximum(values, 0))

    def predicted(self, targets: Array) -> Array:
        """Predictions (t, k) for the test images, with the alpha of `ALPHAS` that has the least leave-one-out error."""
        mean = targets.mean(axis=0)
        projected = self.left.T @ (targets - mean)
        squares = self.fit * self.left
        errors = [self._error(1 / (self.values + alpha), projected, squares, targets - mean) for alpha in ALPHAS]
        best = 1 / (self.values + ALPHAS[int(np.argmin(errors))])
        return mean + self.out @ (projected * best[:, None])

    def _error(self, shrunk: Array, projected: Array, squares: Array, targets: Array) -> float:
        """The mean squared leave-one-out error, from one fit: each residual over 1 minus its leverage."""
        residuals = targets - self.fit @ (projected * shrunk[:, None])
        left_out = 1 - 1 / len(targets) - squares @ shrunk
        return float(np.square(residuals / left_out[:, None]).mean())


def predictions(pair: PairedGeometry, components: int, folds: int) -> list[Prediction]:
    """Predict the captions of each fold from their images, by a ridge that was fitted on the other folds only.

    The pairs are split into `folds` parts, shuffled by seed 0. In each fold the targets are the first `components`
    principal components of its training captions; features are standardised by its training images and clipped to 6
    standard deviations; alpha is chosen among 1e-2 ... 1e6 by leave-one-out within the training pairs, for all targets
    together. So the fit sees nothing of a test pair, even if there are more features than pairs.
    """
    images, captions = pair.image.derived(_image_folds, folds), pair.text.derived(_caption_folds, components, folds)
    return [
        Prediction(test, truth, image.predicted(targets))
        for image, (test, targets, truth) in zip(images, captions, strict=True)
    ]


def _splits(n: int, folds: int) -> list[tuple[Rows, Rows]]:
    from sklearn.model_selection import KFold

    return list(KFold(folds, shuffle=True, random_state=0).split(np.empty(n)))


def _image_folds(images: Geometry, folds: int) -> list[ImageFold]:
    rows = images.embeddings
    return [ImageFold.of(rows[train], rows[test]) for train, test in _splits(len(rows), folds)]


def _caption_folds(captions: Geometry, components: int, folds: int) -> list[tuple[Rows, Array, Array]]:
    """The test pairs of each fold, the targets of its training captions and those of its test captions."""
    from sklearn.decomposition import PCA

    rows, found = captions.embeddings, []
    for train, test in _splits(len(rows), folds):
        axes = PCA(min(components, len(train) - 1, rows.shape[1]), svd_solver="full").fit(rows[train])
        found.append((test, axes.transform(rows[train]), axes.transform(rows[test])))
    return found
