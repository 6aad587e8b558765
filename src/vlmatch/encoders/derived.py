"""Encoders made of others: features of several side by side, or a trained head over a frozen backbone."""

import hashlib
from abc import abstractmethod
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from PIL import Image
from torch import Tensor, nn

from vlmatch.encoders.about import About
from vlmatch.encoders.base import Encoder
from vlmatch.encoders.weights import checked_sha256, local_path, read_state_dict
from vlmatch.errors import VlmatchError


class DerivedEncoder(Encoder):
    """An encoder whose feature follows from the features of its parts, so that stored ones are enough for it.

    parts: the encoders it is made of. Without any it still combines features that come from the store, and
    `about` describes it from what is stored with them; it then takes no images.
    """

    def __init__(
        self,
        name: str,
        parts: Sequence[Encoder],
        *,
        feature: str = "paper",
        licence: Mapping[str, str] | None = None,
    ) -> None:
        super().__init__(name, feature=feature, licence=licence)
        self.parts = nn.ModuleList(parts)
        self.eval()

    @abstractmethod
    def combine(self, features: Sequence[Tensor]) -> Tensor:
        """The feature from one feature of each part, in their order: (n, d_1), (n, d_2), ... -> (n, d)."""

    @abstractmethod
    def about(self, parts: Sequence[About]) -> About:
        """What there is to say of this encoder, given the same of its parts."""

    def feature(self, images: Any) -> Tensor:
        """One feature an image: (n, d). Each part follows the rule of its own yaml."""
        return self.combine([part.feature(batch) for part, batch in self._batches(images)])

    def paper_feature(self, images: Any) -> Tensor:
        """The same, of the parts' features by the paper's rule: (n, d)."""
        return self.combine([part.paper_feature(batch) for part, batch in self._batches(images)])

    @property
    def paper_rule(self) -> str:
        """The feature rule in words."""
        return self.described.rule

    @property
    def rule(self) -> str:
        """The same: the parts' own rules are named in it."""
        return self.described.rule

    @property
    def preprocessing(self) -> dict[str, Any]:
        """What `prepare` does, as plain values."""
        return dict(self.described.preprocessing)

    def n_parameters(self) -> int:
        """Parameters of the parts, and of what is trained over them."""
        return self.described.n_parameters

    @property
    def described(self) -> About:
        """What there is to say of this encoder, its parts being here."""
        return self.about([About.of(part) for part in self._encoders()])

    def _encoders(self) -> list[Encoder]:
        return [part for part in self.parts if isinstance(part, Encoder)]

    def _batches(self, images: Any) -> list[tuple[Encoder, Any]]:
        """Each part with its batch."""
        return list(zip(self._encoders(), images, strict=True))


class FusedEncoder(DerivedEncoder):
    """The features of two or more encoders side by side, as VLM builders fuse them.

    members: names of the parts. Every part prepares an image in its own way, so that a prepared image is a tuple
    of tensors, and a batch a list of one tensor a part.
    Raises VlmatchError on fewer than two members, or one that is named twice.
    """

    def __init__(
        self,
        name: str,
        parts: Sequence[Encoder],
        members: Sequence[str],
        *,
        feature: str = "paper",
        licence: Mapping[str, str] | None = None,
    ) -> None:
        super().__init__(name, parts, feature=feature, licence=licence)
        if len(members) < 2 or len(set(members)) < len(members):
            raise VlmatchError(
                f"encoder '{name}': members=[{','.join(members)}]; a fusion wants two different encoders or more"
            )
        if self.parts:
            self.control, self.weights_sha256 = self.described.control, self.described.weights_sha256

    def prepare(self, image: Image.Image) -> tuple[Any, ...]:  # type: ignore[override]
        """One RGB image as each part wants it."""
        return tuple(part.prepare(image) for part in self._encoders())

    def collate(self, items: list[tuple[Any, ...]]) -> list[Any]:  # type: ignore[override]
        """One batch a part."""
        return [part.collate([item[i] for item in items]) for i, part in enumerate(self._encoders())]

    def tokens(self, images: Any) -> Tensor:
        """The parts' tokens side by side, (n, t, d_1 + d_2 + ...); VlmatchError where their numbers differ."""
        tokens = [part.tokens(batch) for part, batch in self._batches(images)]
        numbers = [each.shape[1] for each in tokens]
        if len(set(numbers)) > 1:
            raise VlmatchError(
                f"encoder '{self.name}': its parts give {' and '.join(map(str, numbers))} tokens an image; "
                "side by side they must be equally many: choose members of one grid"
            )
        return torch.cat(tokens, dim=2)

    def combine(self, features: Sequence[Tensor]) -> Tensor:
        """The features side by side: (n, d_1 + d_2 + ...)."""
        return torch.cat(list(features), dim=1)

    def about(self, parts: Sequence[About]) -> About:
        """Rules, sizes and weights of all parts; a control only if all are."""
        return About(
            self.name,
            "concatenated: " + ", ".join(part.rule for part in parts),
            all(part.control for part in parts),
            sum(part.n_parameters for part in parts),
            _joint_sha256([part.weights_sha256 for part in parts]),
            {part.name: part.preprocessing for part in parts},
        )


class HeadEncoder(DerivedEncoder):
    """A trained head over the feature of one frozen backbone: linear layers with GELU between them.

    checkpoint: a .safetensors file with `layers.0.weight` (h, d), `layers.0.bias` (h,), `layers.1.weight`, ..., and
    `mean`, `std` (d,), by which the backbone's feature is standardised before; float16 there, float32 in use.
    sha256: that of the file.
    Raises VlmatchError where the file is another, its tensors do not fit, or feature is not 'paper' (the head knows
    no other), NotHereError where it is missing.
    """

    def __init__(
        self,
        name: str,
        parts: Sequence[Encoder],
        *,
        checkpoint: str,
        sha256: str,
        feature: str = "paper",
        licence: Mapping[str, str] | None = None,
    ) -> None:
        super().__init__(name, parts, feature=feature, licence=licence)
        if feature != "paper":
            raise VlmatchError(f"encoder '{name}': feature='{feature}'; its head was trained on 'paper' only")
        if len(parts) > 1:
            raise VlmatchError(f"encoder '{name}': {len(parts)} parts; a head has one backbone")
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
        """One RGB image as the backbone wants it."""
        return self._encoders()[0].prepare(image)

    def collate(self, items: list[Tensor]) -> Tensor:
        """One batch for the backbone."""
        return self._encoders()[0].collate(items)

    def tokens(self, images: Tensor) -> Tensor:
        """The head on each token of the backbone, (n, t, d); VlmatchError where their width is not its feature's."""
        tokens = self._encoders()[0].tokens(images)
        if tokens.shape[2] != len(self.mean):
            raise VlmatchError(
                f"encoder '{self.name}': its backbone's tokens have {tokens.shape[2]} numbers, its head takes "
                f"{len(self.mean)}; it has features, but no tokens"
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
        """What the backbone is, and the head over it."""
        (backbone,) = parts
        own = sum(parameter.numel() for parameter in self.layers.parameters())
        return About(
            self.name,
            f"{backbone.rule}, head",
            backbone.control,
            backbone.n_parameters + own,
            _joint_sha256([backbone.weights_sha256, self._head_sha256]),
            backbone.preprocessing,
        )

    def _batches(self, images: Tensor) -> list[tuple[Encoder, Any]]:
        return [(self._encoders()[0], images)]

    def _apply_head(self, features: Tensor) -> Tensor:
        standardised = (features.float() - self.mean) / self.std
        output: Tensor = self.layers(standardised)
        return output


def _head(name: str, checkpoint: str, sha256: str) -> tuple[nn.Sequential, Tensor, Tensor]:
    """Layers, mean and std of a head's file; VlmatchError where it is another file, or no such head."""
    path = local_path(name, checkpoint)
    checked_sha256(name, path, sha256)
    state = {key: value.float() for key, value in read_state_dict(name, path).items()}
    depth = sum(key.endswith(".weight") for key in state)
    names = [f"layers.{i}.{what}" for i in range(depth) for what in ("weight", "bias")] + ["mean", "std"]
    if not depth or set(names) != set(state) or not (state["std"] > 0).all():
        raise VlmatchError(
            f"encoder '{name}': checkpoint '{path}' is no head: it holds {', '.join(sorted(state)[:6])}; wanted mean, "
            "std (above 0), layers.0.weight, layers.0.bias and so on"
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
        with torch.device("meta"):  # no random weights are drawn for what is loaded anyway
            linear = nn.Linear(width, len(weight))
        linear.load_state_dict({"weight": weight, "bias": bias}, assign=True)
        layers += [linear, nn.GELU()]
        width = len(weight)
    return nn.Sequential(*layers[:-1]), state["mean"], state["std"]


def _joint_sha256(digests: Sequence[str | None]) -> str | None:
    """One SHA-256 over those of several weights; None where none has any."""
    known = [digest for digest in digests if digest]
    return hashlib.sha256("".join(known).encode()).hexdigest() if known else None
