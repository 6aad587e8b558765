"""Preprocessing of encoders whose package ships weights but no transform: one frozen set of plain values."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from typing import Any

from PIL import Image, ImageOps
from torch import Tensor
from torchvision.transforms import InterpolationMode
from torchvision.transforms.v2 import functional

from vlmatch.errors import VlmatchError

CHOICES = {
    "resize": ("short", "squash", "pad"),
    "interpolation": ("bilinear", "bicubic"),
    "channels": ("rgb", "bgr"),
    "value_range": (1, 255),
}


@dataclass(frozen=True)
class Preprocessing:
    """How an RGB image becomes the model's (3, size, size) input.

    `resize` brings the image to `resize_to` pixels: its short side ('short'), both sides whatever the
    aspect ratio ('squash'), or its long side, with the rest filled by the mean colour ('pad'). Then the
    central square of `size` is cut out, and values in [0, `value_range`] become (x - mean) / std in the
    order of `channels`, which is the order of `mean` and `std` too.
    """

    size: int
    resize_to: int
    mean: tuple[float, float, float]
    std: tuple[float, float, float]
    resize: str = "short"
    interpolation: str = "bilinear"
    channels: str = "rgb"
    value_range: int = 1

    @classmethod
    def of(cls, name: str, config: Mapping[str, Any]) -> "Preprocessing":
        """The preprocessing that encoder `name`'s yaml describes; VlmatchError names a wrong key or value."""
        known = [field.name for field in fields(cls)]
        wrong = sorted(set(config) - set(known)) or sorted({"size", "resize_to", "mean", "std"} - set(config))
        if wrong:
            raise VlmatchError(
                f"encoder '{name}': preprocessing key '{wrong[0]}' is unknown or missing; keys: {', '.join(known)}"
            )
        values = dict(config) | {key: tuple(config[key]) for key in ("mean", "std")}
        for key, allowed in CHOICES.items():
            if key in values and values[key] not in allowed:
                raise VlmatchError(
                    f"encoder '{name}': preprocessing.{key}='{values[key]}' is unknown; "
                    f"choose one of {', '.join(map(str, allowed))}"
                )
        if len(values["mean"]) != 3 or len(values["std"]) != 3 or values["size"] > values["resize_to"]:
            raise VlmatchError(
                f"encoder '{name}': preprocessing has mean {values['mean']}, std {values['std']}, "
                f"size {values['size']}, resize_to {values['resize_to']}; wanted 3 means, 3 stds, size <= resize_to"
            )
        return cls(**values)

    def __call__(self, image: Image.Image) -> Tensor:
        """One RGB image as a normalised (3, size, size) float32 tensor."""
        cropped = functional.center_crop(self._resized(image), [self.size, self.size])
        values = functional.pil_to_tensor(cropped).float() / (255 / self.value_range)
        if self.channels == "bgr":
            values = values.flip(0)
        return functional.normalize(values, list(self.mean), list(self.std))

    def _resized(self, image: Image.Image) -> Image.Image:
        if self.resize == "pad":
            mean = self.mean if self.channels == "rgb" else self.mean[::-1]
            colour = tuple(round(255 * value / self.value_range) for value in mean)
            resample = Image.Resampling[self.interpolation.upper()]
            return ImageOps.pad(image, (self.resize_to, self.resize_to), resample, color=colour)
        target = [self.resize_to] if self.resize == "short" else [self.resize_to, self.resize_to]
        resized: Image.Image = functional.resize(image, target, InterpolationMode(self.interpolation))
        return resized

    def as_dict(self) -> dict[str, Any]:
        """The values as JSON holds them."""
        return plain(asdict(self))


def plain(values: Mapping[str, Any]) -> dict[str, Any]:
    """A preprocessing's values as JSON holds them, so that stored ones compare equal."""
    return {key: list(value) if isinstance(value, tuple) else value for key, value in values.items()}
