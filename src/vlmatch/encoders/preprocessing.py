"""Preprocessing of encoders whose package has weights but no transform: one frozen set of plain values."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from typing import Any

from PIL import Image, ImageOps
from torch import Tensor

from vlmatch.errors import VlmatchError

CHOICES = {
    "resize": ("short", "squash", "pad"),
    "interpolation": ("bilinear", "bicubic"),
    "channels": ("rgb", "bgr", "grey"),
    "value_range": (1, 255),
}


@dataclass(frozen=True)
class Preprocessing:
    """How an RGB image becomes the model's (3, size, size) input, or (1, size, size) if `channels` is 'grey'.

    `resize` says what gets `resize_to` pixels: the image's short side ('short'); both sides, whatever the aspect ratio
    ('squash'); or the long side, and the rest of the square is filled with the colour `fill` (RGB from 0 to 255), by
    default the mean colour ('pad'). Then the central square of `size` pixels is cut out, and values in
    [0, `value_range`] become (x - mean) / std. `channels` is the order of the channels, also in `mean` and `std`.
    """

    size: int
    resize_to: int
    mean: tuple[float, ...]
    std: tuple[float, ...]
    resize: str = "short"
    interpolation: str = "bilinear"
    channels: str = "rgb"
    value_range: int = 1
    fill: tuple[int, int, int] | None = None

    @classmethod
    def of(cls, name: str, config: Mapping[str, Any]) -> "Preprocessing":
        """The preprocessing that encoder `name`'s yaml describes; VlmatchError names a wrong key or value."""
        known = [field.name for field in fields(cls)]
        wrong = sorted(set(config) - set(known)) or sorted({"size", "resize_to", "mean", "std"} - set(config))
        if wrong:
            raise VlmatchError(
                f"encoder '{name}': preprocessing key '{wrong[0]}' is unknown or missing; keys: {', '.join(known)}"
            )
        values = dict(config) | {key: tuple(config[key]) for key in ("mean", "std", "fill") if config.get(key)}
        for key, allowed in CHOICES.items():
            if key in values and values[key] not in allowed:
                raise VlmatchError(
                    f"encoder '{name}': preprocessing.{key}='{values[key]}' is unknown; "
                    f"choose one of {', '.join(map(str, allowed))}"
                )
        n_channels = 1 if values.get("channels") == "grey" else 3
        if {len(values["mean"]), len(values["std"])} != {n_channels} or values["size"] > values["resize_to"]:
            raise VlmatchError(
                f"encoder '{name}': preprocessing has mean {values['mean']}, std {values['std']}, "
                f"size {values['size']}, resize_to {values['resize_to']}; wanted {n_channels} means and stds, "
                "size <= resize_to"
            )
        return cls(**values)

    def __call__(self, image: Image.Image) -> Tensor:
        """One RGB image as a normalised (3, size, size) float32 tensor, (1, size, size) in grey."""
        from torchvision.transforms.v2 import functional

        cropped = functional.center_crop(self._resized(image), [self.size, self.size])
        if self.channels == "grey":
            cropped = cropped.convert("L")
        values = functional.pil_to_tensor(cropped).float().div_(255 / self.value_range)
        if self.channels == "bgr":
            values = values.flip(0)
        return functional.normalize(values, list(self.mean), list(self.std), inplace=True)

    def _resized(self, image: Image.Image) -> Image.Image:
        if self.resize == "pad":
            resample = Image.Resampling[self.interpolation.upper()]
            return ImageOps.pad(image, (self.resize_to, self.resize_to), resample, color=self.fill or self._mean_colour)
        from torchvision.transforms.v2 import InterpolationMode, functional

        target = [self.resize_to] if self.resize == "short" else [self.resize_to, self.resize_to]
        resized: Image.Image = functional.resize(image, target, InterpolationMode(self.interpolation))
        return resized

    @property
    def _mean_colour(self) -> tuple[int, ...]:
        mean = self.mean[::-1] if self.channels == "bgr" else self.mean
        return tuple(round(255 * value / self.value_range) for value in (mean * 3)[:3])

    def as_dict(self) -> dict[str, Any]:
        """The values as JSON holds them."""
        return plain(asdict(self))


def plain(values: Mapping[str, Any]) -> dict[str, Any]:
    """A preprocessing's values as JSON holds them, so that they compare equal to stored ones."""
    return {key: list(value) if isinstance(value, tuple) else value for key, value in values.items()}
