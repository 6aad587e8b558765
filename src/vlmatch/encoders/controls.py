"""Controls: encoders that know nothing about images, so that a good score ranks them last in every pool."""

from collections.abc import Mapping
from typing import Any, ClassVar, Unpack

import torch
from PIL import Image
from torch import Tensor

from vlmatch.encoders.base import Encoder, EncoderOptions
from vlmatch.encoders.maps import FeatureMapEncoder, TorchvisionMapEncoder
from vlmatch.encoders.weights import sha256_of_tensors
from vlmatch.errors import VlmatchError


class RandomConvnet(TorchvisionMapEncoder, FeatureMapEncoder):
    """A torchvision architecture up to one node, with random weights that depend only on `seed`."""

    control = True

    def __init__(
        self,
        name: str,
        *,
        architecture: str,
        node: str,
        seed: int,
        preprocessing: Mapping[str, Any],
        **options: Unpack[EncoderOptions],
    ) -> None:
        super().__init__(name, preprocessing, **options)
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            self.build_trunk(architecture, node)
        self.weights_sha256 = sha256_of_tensors(self.trunk.state_dict())
        self.eval()


class Pixels(Encoder):
    """The image itself, reduced to `size` x `size` pixels with values in (0, 1]; size 1 is its mean colour.

    The feature is the pixels in a row, (n, 3 size^2), also by the rules that average tokens: each pixel is a token,
    (n, size^2, 3), and the mean pixel would be the mean colour, which is a control of its own.
    """

    version: ClassVar[int] = 3
    control = True

    def __init__(self, name: str, size: int, **options: Unpack[EncoderOptions]) -> None:
        super().__init__(name, **options)
        if size < 1:
            raise VlmatchError(f"encoder '{name}': size={size} is not a number of pixels; give 1 (mean colour) or more")
        self.size = size
        self.eval()

    def prepare(self, image: Image.Image) -> Tensor:
        """The reduced image, (3, size, size), values in (0, 1]: black is not 0, so that its cosines are defined."""
        from torchvision.transforms.v2.functional import pil_to_tensor

        return pil_to_tensor(image.resize((self.size, self.size), Image.Resampling.BOX)).float().add(1) / 256

    def tokens(self, images: Tensor) -> Tensor:
        """One token per pixel: (n, size^2, 3)."""
        return images.flatten(2).transpose(1, 2)

    def paper_feature(self, images: Tensor) -> Tensor:
        """The pixels in a row: (n, 3 size^2)."""
        return images.flatten(1)

    def feature(self, images: Tensor) -> Tensor:
        """The pixels in a row, (n, 3 size^2), by every rule but that of a grid."""
        whole = self.grid is None and self.chosen_layer is None  # it has no layers, and says so
        return self.paper_feature(images) if whole else super().feature(images)

    @property
    def paper_rule(self) -> str:
        """What the feature is, in words."""
        return "mean colour" if self.size == 1 else "pixels"

    @property
    def rule(self) -> str:
        """What the chosen feature is, in words."""
        return self.paper_rule if self.grid is None else super().rule

    @property
    def preprocessing(self) -> dict[str, Any]:
        """What `prepare` does, as plain values."""
        return {"size": self.size, "resize": "squash", "interpolation": "box", "value_range": 1}


class Blind(Encoder):
    """Sees nothing: its feature is a zero, so that a VLM with it answers from the text alone."""

    control = True

    def __init__(self, name: str, **options: Unpack[EncoderOptions]) -> None:
        super().__init__(name, **options)
        self.eval()

    def prepare(self, image: Image.Image) -> Tensor:
        """One zero, whatever the image."""
        return torch.zeros(1, 1, 1)

    def tokens(self, images: Tensor) -> Tensor:
        """One token of one zero: (n, 1, 1)."""
        return torch.zeros(len(images), 1, 1, device=images.device)

    def paper_feature(self, images: Tensor) -> Tensor:
        """(n, 1) zeros."""
        return self.tokens(images)[:, 0]

    @property
    def paper_rule(self) -> str:
        """The rule in words."""
        return "nothing"

    @property
    def preprocessing(self) -> dict[str, Any]:
        """Empty: the image is not used."""
        return {}
