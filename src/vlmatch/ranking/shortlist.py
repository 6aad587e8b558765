"""The shortlist: the candidates that a rule can't distinguish from its first, by a margin from replayed pools."""

from collections.abc import Sequence
from dataclasses import dataclass
from math import hypot

import numpy as np

from vlmatch.evidence.shortlists import Calibration

QUANTILE = 1.645  # 90% of a normal distribution lies within so many deviations of its mean
ROUNDING = 1e-4
"""Distances that differ by less are equal: the record holds margins with four digits, such as 0.3333 for 1/3.

With fewer than 1,250 candidates, any two different values of a rule of four scores differ by more than this.
"""


@dataclass(frozen=True)
class Shortlist:
    """The candidates to train, best first; the first is the pick.

    calibration: how often such lists held the best encoder in replayed pools; None for a rule that was not replayed,
    and then the list has only the first encoder.
    """

    encoders: tuple[str, ...]
    calibration: Calibration | None


@dataclass(frozen=True)
class Standing:
    """A candidate's value by the rule, on all pairs and on each subsample of them.

    subsampled: empty if none of the rule's scores is resampled. rescaling: the factor that the deviation over
    subsamples is multiplied with, because a subsample has fewer pairs than the probe.
    """

    encoder: str
    value: float
    subsampled: tuple[float, ...] = ()
    rescaling: float = 1.0

    def deviation_from(self, other: "Standing") -> float:
        """The standard deviation of the difference of both values over subsamples; 0 if there are none."""
        if not self.subsampled or not other.subsampled:
            return 0.0
        return self.rescaling * float(np.subtract(self.subsampled, other.subsampled).std(ddof=1))

    def reach(self, other: "Standing", margin: float) -> float:
        """The largest distance at which the two can't be distinguished.

        It combines `margin`, the rule's error in replayed pools, with the error from the choice of pairs.
        """
        return hypot(margin, QUANTILE * self.deviation_from(other))

    def reaches(self, other: "Standing", margin: float) -> bool:
        """Whether the rule can't distinguish this candidate from `other`: they are at most `reach` apart."""
        return abs(other.value - self.value) <= self.reach(other, margin) + ROUNDING


def places(standings: Sequence[Standing], margin: float) -> list[int]:
    """The place of each candidate, given best first: 1, 1, 3, ...

    A new place begins at the first candidate that does not reach the first one of the place before.
    """
    found: list[int] = []
    head = 0
    for index, each in enumerate(standings):
        if not each.reaches(standings[head], margin):
            head = index
        found.append(head + 1)
    return found


def shortlist(standings: Sequence[Standing], calibration: Calibration | None) -> Shortlist:
    """The candidates that reach the first, given best first; without a calibration, only the first."""
    first = standings[0]
    if calibration is None:
        return Shortlist((first.encoder,), None)
    listed = tuple(each.encoder for each in standings if each.reaches(first, calibration.margin))
    return Shortlist(listed, calibration)
