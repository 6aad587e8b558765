"""Subsamples of the pairs, and noise shaped like the encoder's embeddings: a score is also computed on these."""

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import cached_property, partial

import numpy as np
from numpy.typing import NDArray
from threadpoolctl import threadpool_limits

from vlmatch.errors import VlmatchError
from vlmatch.foreign import score_faults
from vlmatch.geometry import Geometry, PairedGeometry, Rows
from vlmatch.scores.base import Score

SUBSAMPLES = 20
MOST = 500  # pairs in a subsample, so that scores of O(n^3) stay affordable for large probe sets


def subsample_rows(n: int, most: int = MOST) -> list[Rows]:
    """The rows of each subsample of n pairs: half of them, at most `most`, drawn without replacement.

    They depend on n alone, so every encoder and LLM of a probe set gets the same ones. With a smaller `most`, each
    subsample is the first part of the one with a larger `most`.
    """
    random = np.random.default_rng(n)
    return [random.permutation(n)[: min(n // 2, most)] for _ in range(SUBSAMPLES)]


def most_of(score: Score) -> int:
    """How many pairs a subsample for this score has at most."""
    return min(score.most_resampled or MOST, MOST)


def subsample_size(n: int, score: Score) -> int:
    """How many of n pairs a subsample for this score has."""
    return min(n // 2, most_of(score))


def gaussian_twin(embeddings: NDArray[np.float64]) -> NDArray[np.float64]:
    """Gaussian noise (n, d) with the mean and covariance of n embeddings, also for d > n: mean + Z C / sqrt(n).

    C are the centred embeddings, Z (n, n) is standard normal and depends on n alone.
    """
    n, mean = len(embeddings), embeddings.mean(axis=0)
    noise: NDArray[np.float64] = np.random.default_rng(n).standard_normal((n, n)) @ (embeddings - mean)
    return mean + noise / np.sqrt(n)


class Resampled:
    """A pair of geometries with its noise twin and its subsamples, each made when a score first needs it."""

    def __init__(self, pair: PairedGeometry) -> None:
        self.pair = pair
        self._subsamples: dict[int, list[PairedGeometry]] = {}

    @cached_property
    def noise(self) -> PairedGeometry | None:
        """The pair with noise in place of the images; None if a row of the noise has no direction."""
        try:
            return PairedGeometry(self.pair.image.derived(_noise), self.pair.text, self.pair.spec, self.pair.labels)
        except VlmatchError:
            return None

    def subsamples(self, most: int) -> list[PairedGeometry]:
        """Subsamples of at most `most` pairs. Raises VlmatchError if a subsample is constant on one side."""
        if most not in self._subsamples:
            images, captions = (side.derived(_subsets, most) for side in (self.pair.image, self.pair.text))
            labels = self.pair.labels
            self._subsamples[most] = [
                PairedGeometry(image, text, self.pair.spec, labels and tuple(labels[row] for row in rows))
                for image, text, rows in zip(images, captions, subsample_rows(len(self.pair), most), strict=True)
            ]
        return self._subsamples[most]

    def values(self, score: Score) -> tuple[float | None, tuple[float, ...]]:
        """The score's value for noise (None if not defined) and its values on the subsamples (empty if any is missing).

        Subsamples are computed at the same time, one thread each; threads never change a value.
        """
        if "images" not in score.uses:
            return None, ()
        noise = None if self.noise is None else _value(score, self.noise)
        try:
            resampled = self.subsamples(most_of(score)) if score.resampled else []
        except VlmatchError:
            resampled = []
        values = [value for value in _side_by_side(score, resampled) if value is not None]
        return noise, tuple(values) if len(values) == len(resampled) else ()


def _side_by_side(score: Score, pairs: Sequence[PairedGeometry]) -> list[float | None]:
    from vlmatch.gromov.threads import available_cores  # its package has compiled code, which takes half a second

    with threadpool_limits(1, user_api="blas"), ThreadPoolExecutor(available_cores()) as pool:
        return list(pool.map(partial(_value, score), pairs))


def _value(score: Score, pair: PairedGeometry) -> float | None:
    try:
        with score_faults(score.title):
            return float(score.value(pair))
    except VlmatchError:
        return None


def _noise(images: Geometry) -> Geometry:
    return Geometry.angular(gaussian_twin(images.embeddings), kind="noise")


def _subsets(side: Geometry, most: int) -> list[Geometry]:
    return [side.subset(rows) for rows in subsample_rows(len(side), most)]
