"""The spec sheet: what is known of an encoder without looking at an image."""

from dataclasses import dataclass, replace
from typing import Any, Self

from vlmatch.encoders.catalogue import catalogue

STATED = ("language_supervised", "tokens")
"""What the yaml of an encoder that the catalogue lacks may state for its spec sheet."""

FACTS = ("licence", "control", *STATED)
"""The keys of an encoder's yaml that only say something about it: none changes a feature or a training."""


@dataclass(frozen=True)
class SpecSheet:
    """An encoder's figures from its catalogue entry and its embeddings; None: not known.

    language_supervised: whether it was trained with text. parameters: of the vision side. gflops: multiplications and
    additions, in 1e9, for one image. width: numbers in one feature vector. tokens: vectors that a VLM's projector is
    fed. resolution: pixels of a side of the square input. zero_shot: accuracy on ImageNet without training, percent.
    """

    language_supervised: bool | None = None
    parameters: int | None = None
    gflops: float | None = None
    width: int | None = None
    tokens: int | None = None
    resolution: int | None = None
    zero_shot: float | None = None

    @classmethod
    def of(
        cls, encoder: str, *, parameters: int | None, width: int | None, image_size: int | None = None, **stated: Any
    ) -> Self:
        """The spec sheet of the encoder with this name; all but the arguments is in its catalogue entry, if it has one.

        image_size: pixels of a side, where the input was not of the entry's resolution. FLOPs and tokens of another
        resolution, and the accuracy at it, are not known. stated: what its yaml says (`STATED`), which goes before the
        entry.
        """
        return replace(cls._catalogued(encoder, parameters, width, image_size), **stated)

    @classmethod
    def _catalogued(cls, encoder: str, parameters: int | None, width: int | None, image_size: int | None) -> Self:
        entry = catalogue().get(encoder)
        if entry is None:
            return cls(parameters=parameters, width=width, resolution=image_size)
        if image_size not in (None, entry.resolution):
            return cls(entry.language_supervised, parameters, width=width, resolution=image_size)
        return cls(
            entry.language_supervised,
            parameters,
            entry.gflops,
            width,
            entry.visual_tokens,
            entry.resolution,
            entry.zero_shot_imagenet,
        )
