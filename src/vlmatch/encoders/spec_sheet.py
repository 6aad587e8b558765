"""The spec sheet: what is known about an encoder without looking at an image."""

from dataclasses import dataclass, replace
from typing import Self

from vlmatch.encoders.catalogue import CatalogueEntry

STATED = ("language_supervised", "tokens")
"""What a yaml may state for the spec sheet if the encoder is not in the catalogue."""

FACTS = ("licence", "control", *STATED)
"""The keys of an encoder's yaml that only describe it: none changes a feature or a training."""


@dataclass(frozen=True)
class SpecSheet:
    """An encoder's figures from its catalogue entry and its embeddings; None: not known.

    language_supervised: whether it was trained with text. parameters: of the vision side. gflops: multiplications and
    additions, in 1e9, for one image. width: numbers in one feature vector. tokens: vectors that a VLM's projector is
    fed. resolution: side of the square input, in pixels. zero_shot: accuracy on ImageNet without training, percent.
    """

    language_supervised: bool | None = None
    parameters: int | None = None
    gflops: float | None = None
    width: int | None = None
    tokens: int | None = None
    resolution: int | None = None
    zero_shot: float | None = None

    def catalogued(self, entry: CatalogueEntry, *, side: int | None, layer: int | None) -> Self:
        """The same with what the catalogue says about this encoder.

        side: of the input, in pixels; None: not known, so the entry's is assumed. layer: the chosen one, or None.
        FLOPs, tokens and accuracy at another resolution or layer are not known.
        """
        usual = side in (None, entry.resolution)
        whole = usual and layer == entry.layer
        return replace(
            self,
            language_supervised=entry.language_supervised,
            parameters=entry.image_parameters if self.parameters is None else self.parameters,
            gflops=entry.gflops if whole else None,
            tokens=entry.visual_tokens if whole else None,
            resolution=entry.resolution if usual else side,
            zero_shot=entry.zero_shot_imagenet if whole else None,
        )

    def counted(self, gflops: float | None, tokens: int | None) -> Self:
        """The same with the operations and tokens that were counted while embedding, if the sheet lacks them."""
        return replace(
            self,
            gflops=gflops if self.gflops is None else self.gflops,
            tokens=tokens if self.tokens is None else self.tokens,
        )
