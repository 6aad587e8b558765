"""Controls: encoders that know nothing of images and must therefore lose in every pool."""

from collections.abc import Mapping
from typing import Any, ClassVar

import torch
from PIL import Image
from torch import Tensor

from vlmatch.encoders.base import Encoder
from vlmatch.encoders.convnets import FeatureMapEncoder, torchvision_trunk
from vlmatch.encoders.weights import sha256_of_tensors
from vlmatch.errors import VlmatchError


class RandomConvnet(FeatureMapEncoder):
    """A torchvision architecture with the random weights of `seed`, the same in every process."""

    def __init__(
        self,
        name: str,
        *,
        architecture: str,
        node: str,
        seed: int,
        preprocessing: Mapping[str, Any],
        feature: str = "paper",
        licence: Mapping[str, str] | None = None,
    ) -> None:
        super().__init__(name, preprocessing, feature=feature, control=True, licence=licence)
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            self.trunk = torchvision_trunk(name, architecture, node)
        self.weights_sha256 = sha256_of_tensors(self.trunk.state_dict())
        self.eval()

    def feature_map(self, images: Tensor) -> Tensor:
        """The last feature map: (n, d, h, w)."""
        features: Tensor = self.trunk(images)["map"]
        return features


class Pixels(Encoder):
    """The image itself, reduced to `size` x `size` pixels with values in [0, 1]; size 1 is its mean colour.

    The feature is the pixels in a row, (n, 3 size^2); each pixel is a token, (n, size^2, 3).
    """

    version: ClassVar[int] = 2

    def __init__(
        self, name: str, size: int, *, feature: str = "paper", licence: Mapping[str, str] | None = None
    ) -> None:
        super().__init__(name, feature=feature, control=True, licence=licence)
        if size < 1:
            raise VlmatchError(f"encoder '{name}': size={size} is no number of pixels; give 1 (mean colour) or more")
        self.size = size
        self.eval()

    def prepare(self, image: Image.Image) -> Tensor:
        """The reduced image with values in (0, 1]: (3, size, size); black is not 0, so that it has a direction."""
        from torchvision.transforms.v2.functional import pil_to_tensor

        return pil_to_tensor(image.resize((self.size, self.size), Image.Resampling.BOX)).float().add(1) / 256

    def tokens(self, images: Tensor) -> Tensor:
        """One token a pixel: (n, size^2, 3)."""
        return images.flatten(2).transpose(1, 2)

    def paper_feature(self, images: Tensor) -> Tensor:
        """The pixels in a row: (n, 3 size^2)."""
        return images.flatten(1)

    @property
    def paper_rule(self) -> str:
        """What the feature is, in words."""
        return "mean colour" if self.size == 1 else "pixels"

    @property
    def preprocessing(self) -> dict[str, Any]:
        """What `prepare` does, as plain values."""
        return {"size": self.size, "resize": "squash", "interpolation": "box", "value_range": 1}


class Blind(Encoder):
    """Sees nothing: its feature is a zero, so that a VLM over it answers from the text alone."""

    def __init__(self, name: str, *, feature: str = "paper", licence: Mapping[str, str] | None = None) -> None:
        super().__init__(name, feature=feature, control=True, licence=licence)
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
        """None: the image is not looked at."""
        return {}
