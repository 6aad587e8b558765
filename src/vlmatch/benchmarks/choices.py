"""What likelihoods say of pictures: the credit that each picture earns for each text, were that text its own.

Each function maps log-likelihoods (pictures, texts) of one group to credits of the same shape. A picture's score is
its credit for its own text, on the diagonal.
"""

import numpy as np

from vlmatch.benchmarks.measured import Array

TIE = 1e-4
"""Nats within which two likelihoods are equal: a model that is blind must tie, whatever the rounding."""


def above_prior(likelihoods: Array) -> Array:
    """Each text's likelihood minus its mean under the other pictures (leave-one-out).

    That is n / (n - 1) times the distance to the mean under all n, so a row's order is that of both.
    """
    n = len(likelihoods)
    return likelihoods - (likelihoods.sum(axis=0) - likelihoods) / (n - 1)


def choice(likelihoods: Array) -> Array:
    """How often a text fits the picture better than another text does, each above its prior; a tie is half.

    Each row of credits has the mean 1/2, so that over all assignments of pictures to texts the chance is exactly 1/2.
    All pairs count and not the best text alone: of the same likelihoods that tells encoders apart better (docs/log.md).
    """
    return _beaten(above_prior(likelihoods))


def retrieval(likelihoods: Array) -> Array:
    """How often the picture gives the text a greater likelihood than another picture does; a tie is half.

    Each column of credits has the mean 1/2, which is the exact chance. A text's prior is the same for all pictures.
    """
    return _beaten(likelihoods.T).T


def gain(likelihoods: Array, tokens: Array) -> Array:
    """Nats a token that the picture adds to the text's mean under the other pictures; `tokens` has each text's number.

    Each column sums to 0, so the exact chance is 0.
    """
    return above_prior(likelihoods) / tokens


def _beaten(scores: Array) -> Array:
    """The part of the other scores in its row that each is greater than; a tie is half."""
    ahead = scores[:, :, None] - scores[:, None, :]
    wins = (ahead > TIE) + 0.5 * (np.abs(ahead) <= TIE)
    credit: Array = (wins.sum(axis=2) - 0.5) / (scores.shape[1] - 1)  # without the tie with itself
    return credit
