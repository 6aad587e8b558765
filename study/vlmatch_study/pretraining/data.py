"""The data that encoders are trained on: one share of the split, decoded once, and the held-out part of it."""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Self

import torch
from PIL import Image, ImageOps
from torch import Tensor

from vlmatch.errors import VlmatchError
from vlmatch.probes.images import open_image
from vlmatch.probes.items import Item, Split

SHARE = "encoder_training"
LICENCES = {
    "clipart": "Open Clip Art Library, public domain",
    "emoji_google": "Google's Noto emoji, Apache-2.0",
}
"""The sources that committed weights may be trained on. OpenMoji is not among them: its licence is CC BY-SA."""


@dataclass(frozen=True, eq=False)
class PretrainingData:
    """n items with captions and categories: images (n, 3, s, s) uint8, or features (n, d) of a frozen backbone."""

    inputs: Tensor
    captions: tuple[str, ...]
    categories: tuple[str | None, ...]

    @classmethod
    def images(cls, items: Sequence[Item], size: int) -> Self:
        """Decode the items' images to `size` x `size` pixels, padded with white if they are not square."""
        pictures = torch.stack([_picture(open_image(item.image), size) for item in items])
        return cls.of(items, pictures)

    @classmethod
    def of(cls, items: Sequence[Item], inputs: Tensor) -> Self:
        """The items with given inputs, row by row."""
        return cls(inputs, tuple(item.caption for item in items), tuple(item.category for item in items))

    def __len__(self) -> int:
        return len(self.captions)

    def __getitem__(self, rows: Sequence[int]) -> "PretrainingData":
        rows = list(rows)
        return PretrainingData(
            self.inputs[rows], tuple(self.captions[i] for i in rows), tuple(self.categories[i] for i in rows)
        )

    def labelled(self) -> "PretrainingData":
        """The items that have a category."""
        return self[[i for i, category in enumerate(self.categories) if category is not None]]


def training_items(split: Split, sources: Sequence[str]) -> tuple[Item, ...]:
    """The items of these sources that an encoder may be trained on.

    Raises VlmatchError for a source that no encoder may be trained on.
    """
    for source in sources:
        if source not in LICENCES:
            raise VlmatchError(
                f"pretrain.sources={list(sources)}: no encoder may be trained on '{source}'; "
                f"choose from {', '.join(LICENCES)}"
            )
    items = split.share(SHARE, sources)
    strangers = [item for item in items if item.share != SHARE or item.source not in sources]
    if strangers:
        raise VlmatchError(
            f"split: '{strangers[0].id}' of share '{strangers[0].share}' is among the items of '{SHARE}' of "
            f"{list(sources)}; wanted only items of this share and these sources"
        )
    return items


def held_apart(items: Sequence[Item], categories: Sequence[str] = ()) -> tuple[list[Item], list[Item]]:
    """The items to train on, and those held out: all of `categories`; without any, a tenth of the concepts by hash.

    Raises VlmatchError if either would be empty, or a category has no item.
    """
    absent = sorted(set(categories) - {str(item.category) for item in items})
    if absent:
        raise VlmatchError(
            f"pretrain.held_out={list(categories)}: no item has the category '{absent[0]}'; leave it out"
        )
    held_out = [item for item in items if (item.category in categories if categories else _tenth(item.concept))]
    kept = [item for item in items if item not in held_out]
    if not kept or not held_out:
        raise VlmatchError(
            f"pretrain.held_out={list(categories)}: {len(kept)} items to train on, {len(held_out)} held out; "
            "wanted some of each"
        )
    return kept, held_out


def _tenth(concept: str) -> bool:
    return int.from_bytes(hashlib.sha256(concept.encode()).digest()[:4], "big") % 10 == 0


def _picture(image: Image.Image, size: int) -> Tensor:
    from torchvision.transforms.v2.functional import pil_to_tensor

    return pil_to_tensor(ImageOps.pad(image, (size, size), Image.Resampling.BICUBIC, color="white"))
