"""Read the images of a probe with a few threads: their SHA-256 and, on request, their perceptual hashes."""

import json
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

from vlmatch import paths
from vlmatch.errors import one_line
from vlmatch.files import write_text
from vlmatch.probes.images import ImageError, open_image, sha256_of_image
from vlmatch.probes.pairs import ProbeEntry
from vlmatch.probes.perceptual import perceptual_hash
from vlmatch.probes.problems import EntryError

VERSION = 4  # raise it when the same image gives another perceptual hash

_READERS = 8  # threads
_BATCH = 256  # images read ahead at a time
_CHUNK = 8  # images a thread reads at a time: most take less time than handing them over


@dataclass(frozen=True)
class ReadEntry:
    """An entry with its image's SHA-256 and, on request, perceptual hash; or why it can't be used."""

    entry: ProbeEntry
    sha256: str = ""
    perceptual_hash: int | None = None
    problem: EntryError | None = None


class Reader:
    """Reads images in batches. With `decode`, each image is decoded and hashed, unless the cache holds its hash."""

    def __init__(self, name: str, *, decode: bool, max_pixels: int) -> None:
        self.decode = decode
        self.max_pixels = max_pixels
        self._file = paths.cache() / "probes" / f"{name}-{max_pixels}-{VERSION}.json"
        self._known = _kept(self._file) if decode else {}
        self._n_kept = len(self._known)

    def read(self, entries: Iterable[ProbeEntry]) -> Iterator[ReadEntry]:
        """Read the images in order, at most one batch ahead of the caller."""
        remaining = iter(entries)
        with ThreadPoolExecutor(max_workers=_READERS) as readers:
            while batch := list(islice(remaining, _BATCH)):
                chunks = [batch[start : start + _CHUNK] for start in range(0, len(batch), _CHUNK)]
                for read in readers.map(self._read_chunk, chunks):
                    yield from read

    def save(self) -> None:
        """Keep the hashes, so that the next job need not decode these images to get them."""
        if len(self._known) > self._n_kept:
            write_text(self._file, json.dumps(self._known))

    def _read_chunk(self, entries: Sequence[ProbeEntry]) -> list[ReadEntry]:
        return [self._read(entry) for entry in entries]

    def _read(self, entry: ProbeEntry) -> ReadEntry:
        if entry.problem is not None:
            return ReadEntry(entry, problem=entry.problem)
        try:
            digest = sha256_of_image(entry.image)
            return ReadEntry(entry, digest, self._hash(entry, digest) if self.decode else None)
        except ImageError as error:
            return ReadEntry(entry, problem=error)
        except Exception as error:  # the file system's, or those of the library that reads the image's container
            reason, advice = "can't be read", "restore the file or remove the row"
            if isinstance(error, FileNotFoundError):
                reason = "not there"
                advice += "; a probe of paths takes the folder they start from: probe.images"
            elif isinstance(error, UnicodeEncodeError):
                # The locale's encoding, such as ASCII, lacks the name's letters.
                advice = "set the environment variable PYTHONUTF8=1"
            why = getattr(error, "strerror", None) or one_line(error)
            problem = f"image '{entry.image}' of '{entry.id}' can't be read ({why})"
            return ReadEntry(entry, problem=ImageError(problem, reason, advice))

    def _hash(self, entry: ProbeEntry, digest: str) -> int:
        key = digest + Path(entry.image.name).suffix  # the suffix decides whether it is decoded or rendered
        if key not in self._known:
            self._known[key] = perceptual_hash(open_image(entry.image, self.max_pixels))
        return self._known[key]


def _kept(file: Path) -> dict[str, int]:
    """The hashes in the cache; none if it is absent or damaged."""
    try:
        found = json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    right = isinstance(found, dict) and all(type(value) is int and 0 <= value < 2**64 for value in found.values())
    return found if right else {}
