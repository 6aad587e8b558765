"""From likelihoods to credits: how much each picture would earn with each text, if that text were its own.

Each function maps the log-likelihoods (pictures, texts) of one group to credits of the same shape. What a picture earns
is its credit for its own text, on the diagonal.
"""

import numpy as np

from vlmatch.benchmarks.measurement import Array

TIE = 1e-4
"""Likelihoods that differ by fewer nats count as equal, so that a blind model ties in spite of rounding."""


def above_prior(likelihoods: Array) -> Array:
    """Each text's likelihood minus the mean of its likelihoods under the other pictures (leave-one-out).

    This is n / (n - 1) times the difference to the mean under all n pictures, so both put the texts of a picture in
    the same order.
    """
    n = len(likelihoods)
    return likelihoods - (likelihoods.sum(axis=0) - likelihoods) / (n - 1)


def choice(likelihoods: Array) -> Array:
    """Credits of choosing a text for each picture: the text furthest above its prior gets 1; ties share it.

    Each row sums to 1, so the mean over all assignments of pictures to texts is exactly 1 / texts: the chance.
    """
    return _shared(above_prior(likelihoods), axis=1)


def retrieval(likelihoods: Array) -> Array:
    """Credits of choosing a picture for each text: the picture under which the text is likeliest gets 1; ties share it.

    Each column sums to 1, so the exact chance is 1 / pictures. No prior is subtracted: a text's prior is the same for
    all pictures.
    """
    return _shared(likelihoods, axis=0)


def gain(likelihoods: Array, tokens: Array) -> Array:
    """Credits of a text's likelihood: how far it is above the mean under the other pictures, in nats a token.

    tokens: the number of tokens of each text. Each column sums to 0, so the exact chance is 0.
    """
    return above_prior(likelihoods) / tokens


def _shared(scores: Array, axis: int) -> Array:
    best: Array = (scores >= scores.max(axis=axis, keepdims=True) - TIE).astype(np.float64)
    return best / best.sum(axis=axis, keepdims=True)
