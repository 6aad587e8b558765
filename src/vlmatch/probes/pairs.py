"""The probe set: image-text pairs, their fingerprint, and what was dropped on the way."""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any, Self

from PIL import Image

from vlmatch.files import require_folder_name
from vlmatch.probes import sheet
from vlmatch.probes.images import MAX_PIXELS, ImageError, ImageSource, open_image
from vlmatch.probes.problems import SKIPPING, EntryError


@dataclass(frozen=True, slots=True)
class ProbeEntry:
    """One entry of a source: a pair whose image has not been read yet.

    `where` names its place in the source, such as 'line 3', for messages. `n_captions` is how many captions the source
    lists; the first is used. `problem` says why the entry can't be used; its other fields then mean nothing.
    """

    id: str
    image: ImageSource
    caption: str
    label: str | None = None
    where: str = ""
    n_captions: int = 1
    problem: EntryError | None = None

    @classmethod
    def unusable(cls, where: str, problem: EntryError) -> Self:
        """An entry that can't be used, to be refused or skipped and counted, as the user chose."""
        return cls(where, Path(), "", where=where, problem=problem)


@dataclass(frozen=True)
class Pair:
    """One image with its caption; `image_sha256` is the SHA-256 of the encoded image's bytes."""

    id: str
    image: ImageSource
    caption: str
    image_sha256: str
    label: str | None = None


@dataclass(frozen=True)
class ProbeCounts:
    """How many pairs were read, how many captions and images among them are distinct, how many were kept.

    `dropped` counts pairs that repeat one kept before, by kind; read = kept + the sum of dropped. `skipped` counts, by
    reason, the entries that are not pairs, such as a conversation without an image, and the bad entries that the user
    chose to skip. `first_skipped` quotes a few of the bad ones. `entries` is the number that a sample was drawn from.
    Among the pairs read, `several_captions` counts those whose source lists several captions (the first is used), and
    `number_captions` those whose caption is nothing but a number.
    """

    read: int
    distinct_captions: int
    distinct_images: int
    kept: int
    dropped: Mapping[str, int] = field(default_factory=dict)
    skipped: Mapping[str, int] = field(default_factory=dict)
    first_skipped: tuple[str, ...] = ()
    entries: int | None = None
    several_captions: int = 0
    number_captions: int = 0


@dataclass(frozen=True)
class ProbeSet:
    """n image-text pairs over which two geometries are compared.

    Raises VlmatchError if `name` can't name a folder.
    """

    name: str
    pairs: tuple[Pair, ...]
    counts: ProbeCounts
    source: str = ""
    licence: str = "none stated"
    max_pixels: int = field(default=MAX_PIXELS, repr=False)

    def __post_init__(self) -> None:
        """Check the name, because the store has a folder of that name."""
        require_folder_name("probe.name", self.name)

    def __len__(self) -> int:
        return len(self.pairs)

    @property
    def captions(self) -> list[str]:
        """The n captions, in the order of the pairs."""
        return [pair.caption for pair in self.pairs]

    @property
    def labels(self) -> list[str | None]:
        """The n labels, in the order of the pairs; None if the source has none."""
        return [pair.label for pair in self.pairs]

    def image(self, index: int) -> Image.Image:
        """Decode the image of pair `index` to RGB on white; ImageError if that fails (see `open_image`)."""
        try:
            return open_image(self.pairs[index].image, self.max_pixels)
        except ImageError as error:
            raise ImageError(error.problem, error.reason, f"{error.advice}; {SKIPPING}") from error

    @cached_property
    def fingerprint(self) -> str:
        """SHA-256 over ids, captions and image bytes, in order; labels and file paths do not count."""
        rows = [[pair.id, pair.caption, pair.image_sha256] for pair in self.pairs]
        return hashlib.sha256(json.dumps(rows, ensure_ascii=False).encode()).hexdigest()

    @cached_property
    def _image_sizes(self) -> Mapping[str, Any]:
        return sheet.size_summary([pair.image for pair in self.pairs])

    @property
    def key(self) -> str:
        """Name and short fingerprint: the probe's folder in the store."""
        return f"{self.name}-{self.fingerprint[:8]}"

    def sheet(self) -> dict[str, Any]:
        """What the probe is made of, as plain values for JSON; reads the images' headers.

        `image_sizes` are [width, height] in pixels, by number of pixels; `caption_words` counts the words of a caption.
        """
        counts = self.counts
        return {
            "name": self.name,
            "fingerprint": self.fingerprint,
            "source": self.source,
            "licence": self.licence,
            "entries": counts.entries,
            "read": counts.read,
            "kept": counts.kept,
            "dropped": dict(counts.dropped),
            "skipped": dict(counts.skipped),
            "first_skipped": list(counts.first_skipped),
            "several_captions": counts.several_captions,
            "number_captions": counts.number_captions,
            "distinct_captions": counts.distinct_captions,
            "distinct_images": counts.distinct_images,
            "image_sizes": dict(self._image_sizes),
            "caption_words": sheet.length_summary(self.captions),
            "labels": sheet.label_counts(self.labels),
        }

    def data_sheet(self) -> list[str]:
        """What the probe is made of, as lines of text for people."""
        return sheet.lines(self.sheet())
