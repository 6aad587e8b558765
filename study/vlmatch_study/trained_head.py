"""Encoders trained here over a frozen backbone: a head, made by `task=pretrain`, on the backbone's feature."""

from collections.abc import Sequence
from typing import Any, Unpack

import torch
from PIL import Image
from torch import Tensor, nn

from vlmatch.encoders.about import About, joint_size
from vlmatch.encoders.base import Encoder, EncoderOptions
from vlmatch.encoders.derived import DerivedEncoder, parts_sha256
from vlmatch.encoders.weights import checked_sha256, local_path, read_state_dict
from vlmatch.errors import VlmatchError


class HeadEncoder(DerivedEncoder):
    """A trained head over the feature of one frozen backbone: linear layers with GELU between them.

    checkpoint: a .safetensors file with `layers.0.weight` (h, d), `layers.0.bias` (h,), `layers.1.weight` and so on,
    and with `mean` and `std` (d,), which standardise the backbone's feature. The file holds float16; float32 is used.
    sha256: the SHA-256 of that file.
    Raises VlmatchError if the file has another SHA-256, its tensors do not fit, or feature is not 'paper' (the head was
    trained on that one); NotHereError if the file is missing.
    """

    def __init__(
        self,
        name: str,
        parts: Sequence[Encoder],
        *,
        checkpoint: str,
        sha256: str,
        **options: Unpack[EncoderOptions],
    ) -> None:
        super().__init__(name, parts, **options)
        if self.feature_choice != "paper":
            raise VlmatchError(
                f"encoder '{name}': feature='{self.feature_choice}'; its head was trained on 'paper' only; give "
                "encoder.feature=paper"
            )
        if len(parts) > 1:
            raise VlmatchError(f"encoder '{name}': {len(parts)} parts; wanted one part, the backbone of the head")
        self.layers, mean, std = _head(name, checkpoint, sha256)
        self.mean: Tensor
        self.std: Tensor
        self.register_buffer("mean", mean)
        self.register_buffer("std", std)
        self._head_sha256 = sha256
        if self.parts:
            self.control, self.weights_sha256 = self.described.control, self.described.weights_sha256
        self.eval()

    def prepare(self, image: Image.Image) -> Tensor:
        """One RGB image, prepared by the backbone."""
        return self._encoders()[0].prepare(image)

    def collate(self, items: list[Tensor]) -> Tensor:
        """One batch for the backbone."""
        return self._encoders()[0].collate(items)

    def tokens(self, images: Tensor) -> Tensor:
        """The head on each token of the backbone: (n, t, d).

        Raises VlmatchError if the width of the tokens is not that of the feature that the head was trained on.
        """
        tokens = self._encoders()[0].tokens(images)
        if tokens.shape[2] != len(self.mean):
            raise VlmatchError(
                f"encoder '{self.name}': its backbone's tokens have {tokens.shape[2]} numbers, its head takes "
                f"{len(self.mean)}; use its pooled feature instead of its tokens"
            )
        return self._apply_head(tokens)

    def combine(self, features: Sequence[Tensor]) -> Tensor:
        """The head on the backbone's feature: (n, d) -> (n, d_out)."""
        (feature,) = features
        if feature.shape[1] != len(self.mean):
            raise VlmatchError(
                f"encoder '{self.name}': its backbone's feature has {feature.shape[1]} numbers, its head takes "
                f"{len(self.mean)}; give the head of this backbone"
            )
        return self._apply_head(feature)

    def about(self, parts: Sequence[About]) -> About:
        """The description of the backbone with its head."""
        (backbone,) = parts
        own = sum(parameter.numel() for parameter in self.layers.parameters())
        return About(
            self.name,
            f"{backbone.rule}, head",
            backbone.control,
            joint_size([backbone.n_parameters, own]),
            parts_sha256([backbone.weights_sha256, self._head_sha256]),
            backbone.preprocessing,
        )

    def _batches(self, images: Tensor) -> list[tuple[Encoder, Any]]:
        return [(self._encoders()[0], images)]

    def _apply_head(self, features: Tensor) -> Tensor:
        standardised = (features.float() - self.mean) / self.std
        output: Tensor = self.layers(standardised)
        return output


def _head(name: str, checkpoint: str, sha256: str) -> tuple[nn.Sequential, Tensor, Tensor]:
    """Layers, mean and std in a head's file.

    Raises VlmatchError if the SHA-256 differs, or the tensors are not those of a head.
    """
    path = local_path(name, checkpoint)
    checked_sha256(name, path, sha256)
    state = {key: value.float() for key, value in read_state_dict(name, path).items()}
    depth = sum(key.endswith(".weight") for key in state)
    names = [f"layers.{i}.{what}" for i in range(depth) for what in ("weight", "bias")] + ["mean", "std"]
    if not depth or set(names) != set(state) or not (state["std"] > 0).all():
        raise VlmatchError(
            f"encoder '{name}': checkpoint '{path}' is not a head: it holds "
            f"{', '.join(sorted(state)[:6])}; wanted mean, std (above 0), layers.0.weight, layers.0.bias and so on"
        )
    layers: list[nn.Module] = []
    width = len(state["mean"])
    for i in range(depth):
        weight, bias = state[f"layers.{i}.weight"], state[f"layers.{i}.bias"]
        if weight.ndim != 2 or weight.shape[1] != width or bias.shape != weight.shape[:1]:
            raise VlmatchError(
                f"encoder '{name}': checkpoint '{path}': layers.{i} has a weight {tuple(weight.shape)} and a bias "
                f"{tuple(bias.shape)}; wanted (h, {width}) and (h,)"
            )
        with torch.device("meta"):  # draw no random weights, which would be overwritten
            linear = nn.Linear(width, len(weight))
        linear.load_state_dict({"weight": weight, "bias": bias}, assign=True)
        layers += [linear, nn.GELU()]
        width = len(weight)
    return nn.Sequential(*layers[:-1]), state["mean"], state["std"]
