"""GW after both sides are centred: our variant of the paper's score, free of the direction that all captions share."""

from dataclasses import dataclass
from typing import ClassVar

from vlmatch.geometry import PairedGeometry
from vlmatch.scores.base import ScoreResult
from vlmatch.scores.gw import GW


@dataclass(frozen=True)
class GWCentred(GW):
    """GW of the angles between embeddings from which the mean of their side was subtracted.

    Our variant, not the paper's. Embeddings of LLMs share one large direction, often that of the captions' last token,
    so that most angles between them are small and alike. Seen from the mean, the angles differ more. An embedding that
    equals the mean has no direction, and the score is then not defined. Everything else is as for GW.
    """

    title: ClassVar[str] = "GW centred"
    version: ClassVar[int] = 1
    squares: ClassVar[int] = 70

    def __call__(self, pair: PairedGeometry) -> ScoreResult:
        """Score `pair`, of n >= 3 pairs; two are opposite after centring."""
        return super().__call__(pair.derived(_centred))

    def value(self, pair: PairedGeometry) -> float:
        """The score without its bounds."""
        return super().value(pair.derived(_centred))


def _centred(pair: PairedGeometry) -> PairedGeometry:
    return PairedGeometry(pair.image.centred, pair.text.centred, pair.spec, pair.labels)
