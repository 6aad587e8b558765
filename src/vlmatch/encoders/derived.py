"""Encoders made of other encoders: the base class, which computes its feature from the parts', and concatenation."""

import hashlib
from abc import abstractmethod
from collections.abc import Mapping, Sequence
from typing import Any, Unpack

import torch
from PIL import Image
from torch import Tensor, nn

from vlmatch.encoders.about import About, joint_size
from vlmatch.encoders.base import Encoder, EncoderOptions
from vlmatch.errors import VlmatchError
from vlmatch.packages.availability import Availability, availability, together


class DerivedEncoder(Encoder):
    """An encoder whose feature is computed from the features of its parts, so that stored features are enough.

    parts: the encoders that it is made of. Without parts it takes no images, but it can still combine stored features,
    and `about` describes it by what is stored with those features.
    """

    def __init__(self, name: str, parts: Sequence[Encoder], **options: Unpack[EncoderOptions]) -> None:
        super().__init__(name, **options)
        if self.chosen_layer is not None:
            raise VlmatchError(
                f"encoder '{name}': layer={self.chosen_layer}, but it is made of other encoders; leave "
                "encoder.layer=null"
            )
        self.parts = nn.ModuleList(parts)
        self.eval()

    @classmethod
    def availability(cls, settings: Mapping[str, Any]) -> Availability:
        """Where its own file (if it has one) and the weights of all parts are."""
        return together([super().availability(settings), *map(availability, settings.get("parts") or ())])

    @abstractmethod
    def combine(self, features: Sequence[Tensor]) -> Tensor:
        """The feature from one feature of each part, in their order: (n, d_1), (n, d_2), ... -> (n, d)."""

    @abstractmethod
    def about(self, parts: Sequence[About]) -> About:
        """The description of this encoder, given those of its parts."""

    def feature(self, images: Any) -> Tensor:
        """One feature per image: (n, d). Each part follows the rule of its own yaml."""
        return self.combine([part.feature(batch) for part, batch in self._batches(images)])

    def paper_feature(self, images: Any) -> Tensor:
        """One feature per image, computed from the parts' features by the paper's rule: (n, d)."""
        return self.combine([part.paper_feature(batch) for part, batch in self._batches(images)])

    @property
    def paper_rule(self) -> str:
        """The feature rule in words."""
        return self.described.rule

    @property
    def rule(self) -> str:
        """The same as `paper_rule`: it names the rules of the parts."""
        return self.described.rule

    @property
    def preprocessing(self) -> dict[str, Any]:
        """What `prepare` does, as plain values."""
        return dict(self.described.preprocessing)

    def n_parameters(self) -> int | None:
        """The parameters of the parts and of what was trained on top of them; None if a part's number is not known."""
        return self.described.n_parameters

    @property
    def described(self) -> About:
        """The description of this encoder, computed from those of its parts, which must be built."""
        return self.about([About.of(part) for part in self._encoders()])

    def _encoders(self) -> list[Encoder]:
        return [part for part in self.parts if isinstance(part, Encoder)]

    def _batches(self, images: Any) -> list[tuple[Encoder, Any]]:
        """Each part with its batch."""
        return list(zip(self._encoders(), images, strict=True))


class FusedEncoder(DerivedEncoder):
    """The features of two or more encoders, concatenated, as VLM builders fuse them.

    members: names of the parts. Every part prepares an image in its own way, so a prepared image is a tuple of tensors,
    and a batch is a list with one tensor for each part.
    Raises VlmatchError on fewer than two members, or if one is named twice.
    """

    def __init__(
        self, name: str, parts: Sequence[Encoder], members: Sequence[str], **options: Unpack[EncoderOptions]
    ) -> None:
        super().__init__(name, parts, **options)
        if len(members) < 2 or len(set(members)) < len(members):
            raise VlmatchError(
                f"encoder '{name}': members=[{','.join(members)}]; a fusion needs two or more different encoders"
            )
        if self.parts:
            self.control, self.weights_sha256 = self.described.control, self.described.weights_sha256

    def prepare(self, image: Image.Image) -> tuple[Any, ...]:  # type: ignore[override]
        """One RGB image, prepared by each part."""
        return tuple(part.prepare(image) for part in self._encoders())

    def collate(self, items: list[tuple[Any, ...]]) -> list[Any]:  # type: ignore[override]
        """One batch for each part."""
        return [part.collate([item[i] for item in items]) for i, part in enumerate(self._encoders())]

    def tokens(self, images: Any) -> Tensor:
        """The parts' tokens, concatenated: (n, t, d_1 + d_2 + ...); VlmatchError if their numbers differ."""
        tokens = [part.fed_tokens(batch) for part, batch in self._batches(images)]
        numbers = [each.shape[1] for each in tokens]
        if len(set(numbers)) > 1:
            raise VlmatchError(
                f"encoder '{self.name}': its parts give {' and '.join(map(str, numbers))} tokens per image; "
                "choose members with the same number of tokens"
            )
        return torch.cat(tokens, dim=2)

    def combine(self, features: Sequence[Tensor]) -> Tensor:
        """The features, concatenated: (n, d_1 + d_2 + ...)."""
        return torch.cat(list(features), dim=1)

    def about(self, parts: Sequence[About]) -> About:
        """Rules, sizes and weights of all parts; it is a control only if all parts are."""
        return About(
            self.name,
            "concatenated: " + ", ".join(part.rule for part in parts),
            all(part.control for part in parts),
            joint_size([part.n_parameters for part in parts]),
            parts_sha256([part.weights_sha256 for part in parts]),
            {part.name: part.preprocessing for part in parts},
        )


def parts_sha256(digests: Sequence[str | None]) -> str | None:
    """One SHA-256 over the SHA-256s of a derived encoder's parts; None if no part has weights."""
    known = [digest for digest in digests if digest]
    return hashlib.sha256("".join(known).encode()).hexdigest() if known else None
