"""The size of the encoder: the common habit that other scores should beat."""

from dataclasses import dataclass
from typing import ClassVar

from vlmatch.errors import VlmatchError
from vlmatch.geometry import PairedGeometry
from vlmatch.scores.base import Score, ScoreResult


@dataclass(frozen=True)
class Parameters(Score):
    """The image encoder's number of parameters, on the common belief that larger is better.

    A baseline of the paper; it uses neither images nor captions. Range [0, inf). Takes no time.
    """

    title: ClassVar[str] = "Params"
    version: ClassVar[int] = 1
    higher_is_better: ClassVar[bool] = True
    uses_pairing: ClassVar[bool] = False
    uses_size: ClassVar[bool] = True

    def __call__(self, pair: PairedGeometry) -> ScoreResult:
        """Score `pair` by the size of its encoder. Raises VlmatchError where that is not known."""
        if pair.n_parameters is None:
            raise VlmatchError(f"score '{self.title}': n_parameters=None; give the encoder's number of parameters")
        return ScoreResult(float(pair.n_parameters))
