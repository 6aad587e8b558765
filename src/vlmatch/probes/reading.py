"""Read the images of a probe by a few threads: their digests and, where it is asked, whether and what they show."""

import json
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

from vlmatch import paths
from vlmatch.files import renamed
from vlmatch.probes.images import ImageError, open_image, sha256_of_image
from vlmatch.probes.pairs import ProbeEntry
from vlmatch.probes.perceptual import perceptual_hash

VERSION = 1  # raised when the same image gives another hash

_READERS = 8  # threads
_BATCH = 256  # images handed to them at a time


@dataclass(frozen=True)
class Read:
    """An entry and its image's SHA-256 and perceptual hash, if that was asked for; or why the image can't be used."""

    entry: ProbeEntry
    sha256: str = ""
    perceptual_hash: int | None = None
    problem: ImageError | None = None


class Reader:
    """Reads images in batches. With `decode` each is decoded and hashed, unless the cache shows that it was before."""

    def __init__(self, name: str, *, decode: bool, max_pixels: int) -> None:
        self.decode = decode
        self.max_pixels = max_pixels
        self._file = paths.cache() / "probes" / f"{name}-{max_pixels}-{VERSION}.json"
        self._known = _kept(self._file) if decode else {}
        self._n_kept = len(self._known)

    def read(self, entries: Iterable[ProbeEntry]) -> Iterator[Read]:
        """Read the images only as far as they are asked for, and in order."""
        remaining = iter(entries)
        with ThreadPoolExecutor(max_workers=_READERS) as readers:
            while batch := list(islice(remaining, _BATCH)):
                yield from readers.map(self._read, batch)

    def save(self) -> None:
        """Keep the hashes, so that the next job decodes none of these images for them."""
        if len(self._known) > self._n_kept:
            with renamed(self._file) as temporary:
                temporary.write_text(json.dumps(self._known), encoding="utf-8")

    def _read(self, entry: ProbeEntry) -> Read:
        try:
            digest = sha256_of_image(entry.image)
            return Read(entry, digest, self._hash(entry, digest) if self.decode else None)
        except ImageError as error:
            return Read(entry, problem=error)
        except OSError as error:
            reason = "not there" if isinstance(error, FileNotFoundError) else "can't be read"
            message = (
                f"image '{entry.image}' of '{entry.id}' can't be read ({error.strerror or error}); "
                "restore the file or remove the row"
            )
            return Read(entry, problem=ImageError(message, reason))

    def _hash(self, entry: ProbeEntry, digest: str) -> int:
        key = digest + Path(entry.image.name).suffix  # which decides between pixels and a drawing
        if key not in self._known:
            self._known[key] = perceptual_hash(open_image(entry.image, self.max_pixels))
        return self._known[key]


def _kept(file: Path) -> dict[str, int]:
    """What the cache holds; nothing where it is not there or damaged."""
    try:
        found = json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    right = isinstance(found, dict) and all(type(value) is int and 0 <= value < 2**64 for value in found.values())
    return found if right else {}
