"""The base class of every score: called with a paired geometry, a score returns one number and its details."""

import math
from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import ClassVar

from vlmatch.encoders.spec_sheet import SpecSheet
from vlmatch.errors import VlmatchError
from vlmatch.geometry import PairedGeometry
from vlmatch.objects import Buildable

USES = ("images", "captions", "pairing", "labels", "spec")
"""Everything that a score may use, in the order of `Score.uses`."""


@dataclass(frozen=True)
class ScoreResult:
    """One finite number, and further figures by name."""

    value: float
    details: Mapping[str, float | int | str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if not math.isfinite(self.value):
            raise VlmatchError(
                f"a score is {self.value}, wanted a finite number; check the embeddings for very large or small values"
            )


class Score(Buildable, ABC):
    """A score of one encoder against one LLM, computed from embeddings alone.

    title: the heading of its column. version: raised whenever the number may change; results of different versions are
    never compared. uses: what it uses, in words of `USES`: 'pairing' is which caption belongs to which image, 'labels'
    the pairs' categories, 'spec' the encoder's spec sheet. resampled: whether it is also computed on subsamples of the
    pairs, of at most `most_resampled` pairs; False if that takes too long. squares: the peak memory in bytes, divided
    by n^2 for n pairs; the angles are not counted.
    """

    title: ClassVar[str]
    version: ClassVar[int]
    higher_is_better: ClassVar[bool]
    uses: ClassVar[tuple[str, ...]]
    resampled: ClassVar[bool] = True
    most_resampled: ClassVar[int | None] = None
    squares: ClassVar[int] = 24

    @abstractmethod
    def __call__(self, pair: PairedGeometry) -> ScoreResult:
        """Score `pair`; raises VlmatchError if the score is not defined for it."""

    def value(self, pair: PairedGeometry) -> float:
        """The number alone, for subsamples and noise; a score may skip work here that only its details need."""
        return self(pair).value

    def unknown(self, spec: SpecSheet, *, labelled: bool) -> str | None:
        """Say which input of the score is not known, such as 'the pairs have no labels'; None if all are known.

        If an input is not known, the row gets no value of this score. labelled: whether any pair has a label.
        """
        return "the pairs have no labels" if "labels" in self.uses and not labelled else None


def require_pairs(title: str, pair: PairedGeometry, least: int) -> None:
    """Raise VlmatchError unless `pair` has at least `least` pairs, the fewest that the score `title` is defined for."""
    if len(pair) < least:
        raise VlmatchError(
            f"score '{title}': {len(pair)} pairs, wanted at least {least}; add pairs or leave the score out"
        )


def require_option(title: str, name: str, value: int, least: int) -> None:
    """Raise VlmatchError unless the option `name` of the score `title` is at least `least`."""
    if value < least:
        raise VlmatchError(f"score '{title}': {name}={value}, wanted at least {least}; correct it in conf/score")
