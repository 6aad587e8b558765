"""The probe set: image-text pairs, their fingerprint, and what was dropped on the way."""

import hashlib
import json
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import cached_property
from itertools import islice
from pathlib import Path

from PIL import Image

from vlmatch.errors import VlmatchError
from vlmatch.files import sha256_of_file
from vlmatch.probes.images import MAX_PIXELS, open_image

_READERS = 8  # threads that read and hash image files
_BATCH = 256  # files handed to them at a time


@dataclass(frozen=True)
class Entry:
    """One entry of a source: a pair whose image file has not been read yet."""

    id: str
    image: Path
    caption: str
    label: str | None = None


@dataclass(frozen=True)
class Pair:
    """One image with its caption; `image_sha256` is that of the file's bytes."""

    id: str
    image: Path
    caption: str
    image_sha256: str
    label: str | None = None


@dataclass(frozen=True)
class ProbeCounts:
    """How many pairs were read, how many captions and images among them are distinct, how many were kept.

    `skipped` counts the entries of the source that are no pairs at all, such as a conversation without an image.
    """

    read: int
    distinct_captions: int
    distinct_images: int
    kept: int
    skipped: int = 0


@dataclass(frozen=True)
class ProbeSet:
    """n image-text pairs over which two geometries are compared."""

    name: str
    pairs: tuple[Pair, ...]
    counts: ProbeCounts
    source: str = ""
    licence: str = "none stated"
    max_pixels: int = field(default=MAX_PIXELS, repr=False)

    def __len__(self) -> int:
        return len(self.pairs)

    @property
    def captions(self) -> list[str]:
        """The n captions, in the order of the pairs."""
        return [pair.caption for pair in self.pairs]

    @property
    def labels(self) -> list[str | None]:
        """The n labels, in the order of the pairs; None where the source has none."""
        return [pair.label for pair in self.pairs]

    def image(self, index: int) -> Image.Image:
        """Decode the image of pair `index` to RGB on white; VlmatchError if it can't be (see `open_image`)."""
        return open_image(self.pairs[index].image, self.max_pixels)

    @cached_property
    def fingerprint(self) -> str:
        """SHA-256 over ids, captions and image bytes, in order; labels and paths do not count."""
        rows = [[pair.id, pair.caption, pair.image_sha256] for pair in self.pairs]
        return hashlib.sha256(json.dumps(rows, ensure_ascii=False).encode()).hexdigest()

    @property
    def key(self) -> str:
        """Name and short fingerprint: the probe's folder in the store."""
        return f"{self.name}-{self.fingerprint[:8]}"

    def data_sheet(self) -> list[str]:
        """What the probe is made of, as lines of text for people."""
        counts = self.counts
        labels = {label for label in self.labels if label is not None}
        return [
            f"probe {self.name}: {counts.kept} pairs kept of {counts.read} read"
            + (f", {counts.skipped} entries without an image skipped" if counts.skipped else ""),
            f"distinct captions: {counts.distinct_captions}; distinct images: {counts.distinct_images}"
            + (f"; labels: {len(labels)}" if labels else ""),
            f"source: {self.source or 'not stated'}; licence: {self.licence}",
            f"fingerprint: {self.fingerprint}",
        ]


def normalised(caption: str) -> str:
    """The form in which two captions count as the same: case and white space folded."""
    return " ".join(caption.casefold().split())


def with_digests(name: str, entries: Iterable[Entry]) -> Iterator[Pair]:
    """Hash the image files by a few threads, and only as far as the pairs are asked for; the order stays.

    Raises VlmatchError if an image file is missing or can't be read.
    """

    def pair(entry: Entry) -> Pair:
        try:
            digest = sha256_of_file(entry.image)
        except OSError as error:
            raise VlmatchError(
                f"probe '{name}': image '{entry.image}' of '{entry.id}' can't be read ({error.strerror}); "
                "restore the file or remove the row"
            ) from error
        return Pair(entry.id, entry.image, entry.caption, digest, entry.label)

    remaining = iter(entries)
    with ThreadPoolExecutor(max_workers=_READERS) as readers:
        while batch := list(islice(remaining, _BATCH)):
            yield from readers.map(pair, batch)


def build(
    name: str,
    pairs: Iterable[Pair],
    *,
    drop_duplicates: bool,
    limit: int | None = None,
    skipped: Callable[[], int] = lambda: 0,
    source: str = "",
    licence: str = "none stated",
    max_pixels: int = MAX_PIXELS,
) -> ProbeSet:
    """Check the pairs, count repeated captions and images, and drop them if asked.

    A pair is dropped if a pair kept before it has its caption (`normalised`) or its image (byte for byte).
    Reading stops as soon as `limit` pairs are kept; the counts are of what was read by then, and `skipped` is
    asked at that time for the entries that were no pairs.

    Raises VlmatchError on a repeated id, an empty caption, a limit below 2, or fewer than two pairs left.
    """
    if limit is not None and limit < 2:
        raise VlmatchError(f"probe '{name}': limit={limit}; a geometry needs at least 2 pairs, or null for all")
    tally = _Tally(name, drop_duplicates)
    for pair in pairs:
        tally.add(pair)
        if len(tally.kept) == limit:
            break
    kept, counts = tally.kept, tally.counts(skipped())
    if len(kept) < 2:
        raise VlmatchError(
            f"probe '{name}': {len(kept)} pair{'s'[: len(kept) != 1]} left of {counts.read} read; "
            "a geometry needs at least 2, and an answer worth trusting some hundreds"
        )
    return ProbeSet(name, tuple(kept), counts, source, licence, max_pixels)


class _Tally:
    """What has been read so far of a probe, and what of it is kept."""

    def __init__(self, name: str, drop_duplicates: bool) -> None:
        self.name = name
        self.drop_duplicates = drop_duplicates
        self.kept: list[Pair] = []
        self._read: dict[str, set[str]] = {"ids": set(), "captions": set(), "images": set()}
        self._kept: dict[str, set[str]] = {"captions": set(), "images": set()}

    def add(self, pair: Pair) -> None:
        """Count one more pair, and keep it unless its caption or image is kept already."""
        if pair.id in self._read["ids"]:
            raise VlmatchError(f"probe '{self.name}': id '{pair.id}' appears twice; every pair needs an id of its own")
        caption = normalised(pair.caption)
        if not caption:
            raise VlmatchError(
                f"probe '{self.name}': the caption of '{pair.id}' is empty; give it a caption or remove the row"
            )
        self._read["ids"].add(pair.id)
        self._read["captions"].add(caption)
        self._read["images"].add(pair.image_sha256)
        repeated = caption in self._kept["captions"] or pair.image_sha256 in self._kept["images"]
        if not (self.drop_duplicates and repeated):
            self._kept["captions"].add(caption)
            self._kept["images"].add(pair.image_sha256)
            self.kept.append(pair)

    def counts(self, skipped: int) -> ProbeCounts:
        """The counts of all that was added."""
        read = self._read
        return ProbeCounts(len(read["ids"]), len(read["captions"]), len(read["images"]), len(self.kept), skipped)
