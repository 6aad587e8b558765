"""How a transformers model is fed images: as squares of one size, or as patches whose number depends on the image."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from PIL import Image
from torch import Tensor

from vlmatch.errors import VlmatchError

QWEN = ("qwen2_vl_vision", "qwen2_5_vl_vision", "qwen3_vl_vision")


@dataclass(frozen=True)
class Outputs:
    """What a model gives for n images.

    last, states: the last hidden state, and the hidden states of all layers, (n, t, d) each; a map of a convolutional
    network may be (n, d, h, w). pooled: (n, d), or None. real: (n, t), whether a token stands for a patch of the image;
    None: all do.
    """

    last: Tensor
    states: Sequence[Tensor] = ()
    pooled: Tensor | None = None
    real: Tensor | None = None


class SquareImages:
    """Images of one size, (3, h, w) each."""

    def prepare(self, processor: Any, image: Image.Image) -> Any:
        """One image as the processor prepares it; if it adds crops, only the whole image, which comes first."""
        pixels: Tensor = processor(images=image, return_tensors="pt")["pixel_values"][0]
        return pixels[0] if pixels.ndim == 4 else pixels

    def collate(self, items: Sequence[Any]) -> Any:
        """A batch (n, 3, h, w)."""
        return torch.stack(list(items))

    def outputs(self, model: Any, batch: Any, states: bool) -> Outputs:
        """What the model gives. states: whether the hidden states of all layers are wanted."""
        found = model(pixel_values=batch, output_hidden_states=True) if states else model(pixel_values=batch)
        return Outputs(found.last_hidden_state, found.hidden_states if states else (), _pooled(found))


class NaFlexImages:
    """Images for SigLIP 2's NaFlex: patches in the image's own aspect ratio, padded to the same number."""

    def prepare(self, processor: Any, image: Image.Image) -> Any:
        """The patches, which of them are real, and the numbers of rows and columns."""
        prepared = processor(images=image, return_tensors="pt")
        return {key: prepared[key][0] for key in ("pixel_values", "pixel_attention_mask", "spatial_shapes")}

    def collate(self, items: Sequence[Any]) -> Any:
        """Each of these, stacked over the images."""
        return {key: torch.stack([item[key] for item in items]) for key in items[0]}

    def outputs(self, model: Any, batch: Any, states: bool) -> Outputs:
        """The same as for `SquareImages`, and which tokens are real."""
        found = model(**batch, output_hidden_states=states)
        real = batch["pixel_attention_mask"].bool()
        return Outputs(found.last_hidden_state, found.hidden_states if states else (), _pooled(found), real)


class QwenImages:
    """Images for Qwen2-VL: patches of the image at its own size, before the model merges them in groups of four."""

    def prepare(self, processor: Any, image: Image.Image) -> Any:
        """The patches, and the numbers of frames, rows and columns."""
        prepared = processor(images=image, return_tensors="pt")
        return {"patches": prepared["pixel_values"], "grid": prepared["image_grid_thw"][0]}

    def collate(self, items: Sequence[Any]) -> Any:
        """The patches padded to the largest number, and the grids, stacked."""
        patches = torch.nn.utils.rnn.pad_sequence([item["patches"] for item in items], batch_first=True)
        return {"patches": patches, "grid": torch.stack([item["grid"] for item in items])}

    def outputs(self, model: Any, batch: Any, states: bool) -> Outputs:
        """The last hidden state, and which tokens are real; the states of other layers are not available."""
        grid = batch["grid"]
        lengths = grid.prod(dim=1)
        real = torch.arange(batch["patches"].shape[1], device=grid.device) < lengths[:, None]
        found = model(batch["patches"][real], grid_thw=grid).last_hidden_state
        last = torch.nn.utils.rnn.pad_sequence(list(found.split(lengths.tolist())), batch_first=True)
        return Outputs(last, (), None, real)


def inputs_of(model_type: str) -> SquareImages | NaFlexImages | QwenImages:
    """How images are given to a model of this type."""
    if model_type == "siglip2_vision_model":
        return NaFlexImages()
    return QwenImages() if model_type in QWEN else SquareImages()


def mean_of_real(tokens: Tensor, real: Tensor | None) -> Tensor:
    """The mean of the tokens that stand for patches: (n, t, d), (n, t) -> (n, d)."""
    if real is None:
        return tokens.mean(dim=1)
    weights = real[..., None].to(tokens.dtype)
    return (tokens * weights).sum(dim=1) / weights.sum(dim=1)


def same_number(name: str, tokens: Tensor, real: Tensor | None) -> Tensor:
    """The real tokens, (n, t, d); VlmatchError if the images have different numbers of them."""
    if real is None:
        return tokens
    counts = real.sum(dim=1)
    if bool((counts != counts[0]).any()):
        raise VlmatchError(
            f"encoder '{name}': images of different shapes give {int(counts.min())} to {int(counts.max())} tokens, but "
            "this feature needs the same number for all; give encoder.feature=paper with encoder.layer=null, or choose "
            "a model that takes square images"
        )
    return tokens[real].reshape(len(tokens), int(counts[0]), -1)


def size_of(batch: Any) -> tuple[int, int] | None:
    """Height and width of a batch of squares; None for patches."""
    return None if isinstance(batch, Mapping) else (batch.shape[-2], batch.shape[-1])


def _pooled(found: Any) -> Tensor | None:
    pooled: Tensor | None = getattr(found, "pooler_output", None)
    return pooled
