"""One score's value as it is stored and shown: with its noise twin, and its values on subsamples of the pairs."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np


@dataclass(frozen=True)
class Scored:
    """One score's value, with what helps to judge it and what decides whether a stored value is still valid.

    uses: what the score uses, of images, captions, pairing, labels, spec. noise: the score's value for Gaussian noise
    of the encoder's mean and covariance; None for a score that does not use images, or is not defined for noise.
    subsamples: its values on random subsamples of `n_subsampled` of the `n_pairs` pairs, the same ones for every
    encoder; empty if the score is not resampled. version, settings, inputs (hashes of the spec sheet and the labels, if
    the score uses them): a stored value is stale if one of these has changed.
    """

    value: float
    details: Mapping[str, Any]
    title: str
    higher_is_better: bool
    uses: tuple[str, ...]
    version: int
    settings: Mapping[str, Any]
    noise: float | None = None
    subsamples: tuple[float, ...] = ()
    n_pairs: int = 0
    n_subsampled: int = 0
    inputs: Mapping[str, str] = field(default_factory=dict)

    @classmethod
    def of_plain(cls, plain: Mapping[str, Any]) -> "Scored":
        """From the values of a JSON file, where tuples are lists; raises KeyError or TypeError on anything else."""
        return cls(**{**plain, "uses": tuple(plain["uses"]), "subsamples": tuple(plain["subsamples"])})

    @property
    def goodness(self) -> float:
        """The value, negated if lower is better, so that more is always better."""
        return self.value if self.higher_is_better else -self.value

    @property
    def deviation(self) -> float | None:
        """The value's standard deviation over probe sets of this size; None if the score is not resampled."""
        return _deviation(self.subsamples, self)


@dataclass(frozen=True)
class LeftOut:
    """Why a row lacks a score; like a `Scored` it is valid for one version, one settings and one set of inputs."""

    reason: str
    version: int
    settings: Mapping[str, Any]
    inputs: Mapping[str, str] = field(default_factory=dict)


def deviation_of_difference(one: Scored, other: Scored) -> float | None:
    """The standard deviation of the difference between two encoders by one score, over probe sets of this size.

    Both were computed on the same subsamples, so what they share cancels. None if either is not resampled, or if the
    subsamples differ. Raises ValueError if the two are of different scores.
    """
    if one.title != other.title:
        raise ValueError(f"scores '{one.title}' and '{other.title}': wanted the same score of two encoders")
    if (one.n_pairs, one.n_subsampled) != (other.n_pairs, other.n_subsampled):
        return None
    if len(one.subsamples) != len(other.subsamples):
        return None
    return _deviation([a - b for a, b in zip(one.subsamples, other.subsamples, strict=True)], one)


def _deviation(values: Sequence[float], scored: Scored) -> float | None:
    """The standard deviation of values on subsamples of m of n pairs, times sqrt(m / (n - m)).

    A mean over m of n pairs, drawn without replacement, has (1 - m / n) / m of the variance of one pair; a mean over n
    new pairs has 1 / n of it (Politis, Romano and Wolf, 1999, Subsampling, section 2.3).
    """
    n, m = scored.n_pairs, scored.n_subsampled
    if len(values) < 2 or not 0 < m < n:
        return None
    return float(np.std(values, ddof=1)) * math.sqrt(m / (n - m))
