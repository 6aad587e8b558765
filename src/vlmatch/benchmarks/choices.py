"""What likelihoods say of pictures: the credit that each picture earns for each text, were that text its own.

Each function maps log-likelihoods (pictures, texts) of one group to credits of the same shape. A picture's score is
its credit for its own text, on the diagonal.
"""

import numpy as np

from vlmatch.benchmarks.measurement import Array

TIE = 1e-4
"""Nats within which two likelihoods are equal: a model that is blind must tie, whatever the rounding."""


def above_prior(likelihoods: Array) -> Array:
    """Each text's likelihood minus its mean under the other pictures (leave-one-out).

    That is n / (n - 1) times the distance to the mean under all n, so a row's order is that of both.
    """
    n = len(likelihoods)
    return likelihoods - (likelihoods.sum(axis=0) - likelihoods) / (n - 1)


def choice(likelihoods: Array) -> Array:
    """Which text fits the picture: the greatest above its prior; ties share the credit.

    Each row of credits sums to 1, so over all assignments of pictures to texts the mean is exactly 1 / texts.
    """
    return _shared(above_prior(likelihoods), axis=1)


def retrieval(likelihoods: Array) -> Array:
    """Which picture fits the text: the one that gives it the greatest likelihood; ties share the credit.

    Each column of credits sums to 1, so the exact chance is 1 / pictures. A text's prior is the same for all.
    """
    return _shared(likelihoods, axis=0)


def gain(likelihoods: Array, tokens: Array) -> Array:
    """Nats a token that the picture adds to the text's mean under the other pictures; `tokens` has each text's number.

    Each column sums to 0, so the exact chance is 0.
    """
    return above_prior(likelihoods) / tokens


def _shared(scores: Array, axis: int) -> Array:
    best: Array = (scores >= scores.max(axis=axis, keepdims=True) - TIE).astype(np.float64)
    return best / best.sum(axis=axis, keepdims=True)
