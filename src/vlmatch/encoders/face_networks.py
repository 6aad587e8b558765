"""Networks for faces whose architectures are in no library: dlib's ResNet and MTCNN's output network."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Unpack

import torch
from torch import Tensor, nn

from vlmatch.encoders.keras_weights import read_keras, shards
from vlmatch.encoders.packaged import PackagedEncoder, PackagedOptions
from vlmatch.encoders.weights import load_strictly, read_state_dict

# The blocks of dlib's ResNet, in order: the name in the file, the channels, and whether the block halves the map.
DLIB_BLOCKS = (
    *((f"conv32_{number}", 32, False) for number in (1, 2, 3)),
    ("conv64_down", 64, True),
    *((f"conv64_{number}", 64, False) for number in (1, 2, 3)),
    ("conv128_down", 128, True),
    *((f"conv128_{number}", 128, False) for number in (1, 2)),
    ("conv256_down", 256, True),
    *((f"conv256_{number}", 256, False) for number in (1, 2)),
    ("conv256_down_out", 256, True),
)


class FaceEncoder(PackagedEncoder):
    """An encoder whose `trunk` is one of this module's networks; its feature is the global average of the last map."""

    trunk: nn.Module

    def __init__(self, name: str, *, preprocessing: Mapping[str, Any], **options: Unpack[PackagedOptions]) -> None:
        super().__init__(name, preprocessing, **options)
        self.trunk = self.network()
        load_strictly(name, self.trunk, self.tensors(), self.weight_path)
        self.eval()

    def feature_map(self, images: Tensor) -> Tensor:
        """The last map: (n, d, h, w)."""
        features: Tensor = self.trunk(images)
        return features

    def network(self) -> nn.Module:
        """The untrained network up to its last map."""
        raise NotImplementedError

    def tensors(self) -> Mapping[str, Tensor]:
        """The state of the network, from the weight file."""
        raise NotImplementedError


class DlibResNet(FaceEncoder):
    """dlib's ResNet for face recognition (King, 2017), with the weights of face-api.js as a TensorFlow.js manifest.

    The scale that follows each convolution is multiplied into its kernel and bias.
    """

    def network(self) -> nn.Module:
        """A convolution, a pool and 14 residual blocks of two convolutions: 256 channels at the end."""
        widths = [32, *(width for _, width, _ in DLIB_BLOCKS)]
        blocks = [
            DlibBlock(before, width, halves) for before, (_, width, halves) in zip(widths, DLIB_BLOCKS, strict=False)
        ]
        stem = nn.Conv2d(3, 32, 7, stride=2)
        return nn.Sequential(stem, nn.ReLU(), nn.MaxPool2d(3, 2), *blocks)

    def tensors(self) -> Mapping[str, Tensor]:
        """The kernels and biases by the names that `network` gives them."""
        read = read_keras(self.name, self.weight_path)
        places = {"conv32_down": "0"}
        for number, (block, _, _) in enumerate(DLIB_BLOCKS, 3):
            places |= {f"{block}/conv1": f"{number}.first", f"{block}/conv2": f"{number}.second"}
        state = {}
        for old, new in places.items():
            scale = read[f"{old}/scale/weights"]
            state[f"{new}.weight"] = read[f"{old}/conv/filters"] * scale[:, None, None, None]
            state[f"{new}.bias"] = read[f"{old}/conv/bias"] * scale + read[f"{old}/scale/biases"]
        return state

    def weight_files(self) -> list[Path]:
        """The manifest and its shards."""
        return [self.weight_path, *shards(self.name, self.weight_path)]


class DlibBlock(nn.Module):
    """Two 3 x 3 convolutions and a skip connection: the map itself, or its 2 x 2 means if the block halves the map."""

    def __init__(self, before: int, after: int, halves: bool) -> None:
        super().__init__()
        self.halves = halves
        self.first = (
            nn.Conv2d(before, after, 3, stride=2, padding=0) if halves else nn.Conv2d(before, after, 3, padding=1)
        )
        self.second = nn.Conv2d(after, after, 3, padding=1)

    def forward(self, maps: Tensor) -> Tensor:
        """(n, before, h, w) -> (n, after, h, w), or h // 2 and w // 2; the smaller summand is padded with zeros."""
        inner = self.second(self.first(maps).relu())
        skipped = nn.functional.avg_pool2d(maps, 2) if self.halves else maps
        channels, height, width = (max(inner.shape[axis], skipped.shape[axis]) for axis in (1, 2, 3))
        inner, skipped = (_padded(each, channels, height, width) for each in (inner, skipped))
        return torch.relu(inner + skipped)


class MtcnnOutputNetwork(FaceEncoder):
    """The output network of MTCNN, a face detector (Zhang et al., 2016), up to its last convolution: 128 channels."""

    def network(self) -> nn.Module:
        """Four convolutions, each followed by a PReLU, with pools between them."""
        layers: dict[str, nn.Module] = {}
        pools: list[nn.Module | None] = [*(nn.MaxPool2d(side, 2, ceil_mode=True) for side in (3, 3, 2)), None]
        shapes = ((3, 32, 3), (32, 64, 3), (64, 64, 3), (64, 128, 2))
        for number, ((before, after, side), pool) in enumerate(zip(shapes, pools, strict=True), 1):
            layers |= {f"conv{number}": nn.Conv2d(before, after, side), f"prelu{number}": nn.PReLU(after)}
            layers |= {f"pool{number}": pool} if pool else {}
        network = nn.Sequential()
        for name, layer in layers.items():
            network.add_module(name, layer)
        return network

    def tensors(self) -> Mapping[str, Tensor]:
        """The tensors of the convolutions; the layers after them are left out."""
        read = read_state_dict(self.name, self.weight_path)
        own = {key.removeprefix("features."): value for key, value in read.items() if key.startswith("features.")}
        return {key: value for key, value in own.items() if not key.startswith(("conv5", "prelu5"))}


def _padded(maps: Tensor, channels: int, height: int, width: int) -> Tensor:
    """Maps with zeros after their channels, rows and columns."""
    return nn.functional.pad(maps, (0, width - maps.shape[3], 0, height - maps.shape[2], 0, channels - maps.shape[1]))
