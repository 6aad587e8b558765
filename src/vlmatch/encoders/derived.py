"""Encoders made of others, whose feature follows from the features of their parts: the base, and concatenation."""

import hashlib
from abc import abstractmethod
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from PIL import Image
from torch import Tensor, nn

from vlmatch.encoders.about import About, joint_size
from vlmatch.encoders.base import Encoder
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

    def n_parameters(self) -> int | None:
        """Parameters of the parts, and of what is trained over them; None where those of a part are not known."""
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
            joint_size([part.n_parameters for part in parts]),
            joint_sha256([part.weights_sha256 for part in parts]),
            {part.name: part.preprocessing for part in parts},
        )


def joint_sha256(digests: Sequence[str | None]) -> str | None:
    """One SHA-256 over those of several weights; None where none has any."""
    known = [digest for digest in digests if digest]
    return hashlib.sha256("".join(known).encode()).hexdigest() if known else None
