"""LogME: the evidence of a Bayesian linear regression from image features to the captions' principal components."""

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray
from scipy.linalg import svd

from vlmatch.geometry import Geometry, PairedGeometry
from vlmatch.scores.base import Score, ScoreResult, require_option, require_pairs
from vlmatch.scores.cca import whitened_components

EPSILON = 1e-5
STEPS, TOLERANCE = 11, 1e-3  # of the fixed-point iteration

Array = NDArray[np.float64]


@dataclass(frozen=True)
class LogME(Score):
    """The largest log evidence per pair of y = F w + noise, w ~ N(0, 1 / alpha), noise ~ N(0, 1 / beta)::

        max over alpha, beta of log N(y | 0, F F' / alpha + 1 / beta) / n

    You et al. (2021), with the fixed-point iteration of their code: at most 11 steps, relative tolerance 1e-3, 1e-5 in
    both denominators. F holds the image features as they are, not centred. y is, one after the other, each of the first
    50 principal components of the captions (at most a quarter of the pairs), scaled to variance 1; the score is the
    mean over them. If there are more features than pairs, their code omits a term of the evidence; this score has it.
    Range (-inf, inf), larger is better. Time O(n^2 d), memory O(n d).
    """

    components: int = 50

    title: ClassVar[str] = "LogME"
    version: ClassVar[int] = 1
    higher_is_better: ClassVar[bool] = True
    uses: ClassVar[tuple[str, ...]] = ("images", "captions", "pairing")

    def __post_init__(self) -> None:
        require_option(self.title, "components", self.components, 1)

    def __call__(self, pair: PairedGeometry) -> ScoreResult:
        """Score `pair`, of n >= 5 pairs: at most n / 4 components are kept, and at least one is needed."""
        require_pairs(self.title, pair, 5)
        left, values = pair.image.derived(_singular)
        targets = pair.text.derived(whitened_components, self.components) * np.sqrt(len(pair))
        evidences = [_evidence(np.square(values), np.square(left.T @ target), target) for target in targets.T]
        return ScoreResult(float(np.mean(evidences)), {"components": len(evidences)})


def _singular(images: Geometry) -> tuple[Array, Array]:
    """The left singular vectors (n, r) and the singular values (r,) of the features as they are."""
    left, values, _ = svd(images.compact, full_matrices=False)
    return left, values


def _evidence(squares: Array, projected: Array, target: Array) -> float:
    """The log evidence per pair of one target (n,).

    squares: the squared singular values of the features, (r,). projected: the squared products of the target with the
    left singular vectors, (r,).
    """
    n = len(target)
    outside = max(float(np.square(target).sum() - projected.sum()), 0.0)  # what no feature explains
    alpha = beta = 1.0
    for _ in range(STEPS):
        ratio = alpha / beta
        shrunk = squares + ratio
        effective = float((squares / shrunk).sum())
        weights = float((squares * projected / shrunk**2).sum())
        residual = float((projected * (ratio / shrunk) ** 2).sum()) + outside
        remaining = n - len(squares) + float((ratio / shrunk).sum())  # n - effective, above 0 whatever the scale
        alpha, beta = effective / (weights + EPSILON), remaining / (residual + EPSILON)
        if abs(alpha / beta - ratio) <= TOLERANCE * ratio:
            break
    log_determinant = float(np.log1p(beta / alpha * squares).sum())
    return (n * np.log(beta / (2 * np.pi)) - log_determinant - beta * residual - alpha * weights) / (2 * n)
