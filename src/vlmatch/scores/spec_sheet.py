"""The spec sheet as scores: facts about an encoder that need no pictures, and that other scores should beat."""

from dataclasses import dataclass
from typing import ClassVar

from vlmatch.encoders.spec_sheet import SpecSheet
from vlmatch.errors import VlmatchError
from vlmatch.geometry import PairedGeometry
from vlmatch.scores.base import Score, ScoreResult


class SpecSheetScore(Score):
    """One entry of the encoder's spec sheet, on the common belief that more is better. Uses no pairs, takes no time.

    entry: the field of `SpecSheet`.
    """

    version: ClassVar[int] = 1
    higher_is_better: ClassVar[bool] = True
    uses: ClassVar[tuple[str, ...]] = ("spec",)
    entry: ClassVar[str]

    def __call__(self, pair: PairedGeometry) -> ScoreResult:
        """Score `pair` by its encoder alone. Raises VlmatchError where the entry is not known."""
        value = getattr(pair.spec, self.entry)
        if value is None:
            raise VlmatchError(f"score '{self.title}': {self.entry}=None, wanted a number; give it in the spec sheet")
        return ScoreResult(float(value))

    def unknown(self, spec: SpecSheet, *, labelled: bool) -> str | None:
        """Say that the entry is not known; None if it is known."""
        if getattr(spec, self.entry) is not None:
            return None
        example = {"language_supervised": "true", "tokens": "576"}.get(self.entry)
        return f"'{self.entry}' of the encoder is not known" + (
            f"; state it: +encoder.{self.entry}={example}" if example else ""
        )


@dataclass(frozen=True)
class Parameters(SpecSheetScore):
    """The image encoder's number of parameters. A baseline of the paper (arXiv 2605.01325). Range [0, inf)."""

    title: ClassVar[str] = "Params"
    entry: ClassVar[str] = "parameters"


@dataclass(frozen=True)
class LanguageSupervised(SpecSheetScore):
    """1 for an encoder that was trained with text, 0 for one that was not.

    Over the encoders of Cambrian-1 (Tong et al., 2024) this bit alone has a Spearman of .85 with the VLM's accuracy.
    Range {0, 1}.
    """

    title: ClassVar[str] = "Language"
    entry: ClassVar[str] = "language_supervised"


@dataclass(frozen=True)
class Flops(SpecSheetScore):
    """Multiplications and additions for one image through the vision side, in 1e9, as the catalogue counts them.

    Range [0, inf).
    """

    title: ClassVar[str] = "GFLOP"
    entry: ClassVar[str] = "gflops"


@dataclass(frozen=True)
class Width(SpecSheetScore):
    """Numbers in one feature vector, which a VLM's projector reads; a grid's cells don't count. Range [1, inf)."""

    title: ClassVar[str] = "Width"
    entry: ClassVar[str] = "width"


@dataclass(frozen=True)
class Tokens(SpecSheetScore):
    """Vectors that the LLM is fed for one image, at most 1,024, because few recipes feed an LLM more. Range [1, 1024].

    The detail `uncapped` is the number of tokens that the encoder gives.
    """

    cap: int = 1024

    title: ClassVar[str] = "Tokens"
    entry: ClassVar[str] = "tokens"

    def __call__(self, pair: PairedGeometry) -> ScoreResult:
        """Score `pair` by its encoder alone. Raises VlmatchError where the number is not known."""
        tokens = super().__call__(pair).value
        return ScoreResult(min(tokens, float(self.cap)), {"uncapped": int(tokens)})


@dataclass(frozen=True)
class Resolution(SpecSheetScore):
    """Pixels of a side of the encoder's square input. Range [1, inf)."""

    title: ClassVar[str] = "Pixels"
    entry: ClassVar[str] = "resolution"


@dataclass(frozen=True)
class ZeroShot(SpecSheetScore):
    """Accuracy on ImageNet without training, in percent, as the catalogue's source states it; few encoders have one.

    Range [0, 100].
    """

    title: ClassVar[str] = "Zero-shot"
    entry: ClassVar[str] = "zero_shot"
