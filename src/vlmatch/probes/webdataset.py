"""WebDataset shards: tar files that hold KEY.jpg beside KEY.txt or KEY.json; read in place, nothing is unpacked."""

import glob
import itertools
import json
import re
import tarfile
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from vlmatch.errors import VlmatchError
from vlmatch.objects import buildable
from vlmatch.probes.images import MAX_BYTES, ImageError
from vlmatch.probes.pairs import ProbeEntry, ProbeSet
from vlmatch.probes.selection import Options, build

IMAGES = ("jpg", "jpeg", "png", "webp", "gif", "bmp", "tif", "tiff", "avif", "jp2", "ppm")
CAPTION_KEYS = ("caption", "text")
MAX_TEXT = 1_000_000  # bytes of a .txt or .json

_BRACES = re.compile(r"\{([^{}]*)\}")
_RANGE = re.compile(r"(\d+)\.\.(\d+)")
_ADDRESS = re.compile(r"pipe:|[a-z][a-z0-9+.-]+://", re.IGNORECASE)


@dataclass(frozen=True)
class TarMember:
    """An image inside an uncompressed tar file: `size` bytes from `offset` on."""

    shard: Path
    name: str
    offset: int
    size: int

    def __str__(self) -> str:
        """The member's name, and the shard it is in."""
        return f"{self.name} in {self.shard}"

    def read(self) -> bytes:
        """The bytes of the member; ImageError if there are too many, or the shard has been cut since."""
        if self.size > MAX_BYTES:
            raise ImageError(
                f"image '{self}' is too large ({self.size:,} bytes; the limit is {MAX_BYTES:,})", "too large"
            )
        with self.shard.open("rb") as file:
            file.seek(self.offset)
            content = file.read(self.size)
        if len(content) < self.size:
            raise ImageError(f"image '{self}' is cut off; fetch the shard again", "can't be read")
        return content


@dataclass
class _Sample:
    """What a shard has under one key."""

    image: TarMember | None = None
    texts: dict[str, bytes] = field(default_factory=dict)


@buildable
def webdataset(path: str, name: str = "webdataset", **options: Any) -> ProbeSet:
    """Read the pairs of the tar shards that `path` names, shard by shard, in the order of their keys' first members.

    `path` is a file, a glob (shards/*.tar) or has braces (shard-{0000..0009}.tar). A pair is KEY.jpg (or another of
    `IMAGES`) with KEY.txt, else with the 'caption' (or 'text') of KEY.json. Its id is SHARD/KEY. Other members, links
    among them, are counted and never opened; keys without an image are skipped and counted. A member's name is only
    an id, so one that leads out of a folder does no harm. `options` are those of `selection.Options`.

    Raises VlmatchError for an address (pipe:, http:), a compressed or broken shard, a text that is no UTF-8, or as
    `selection.build` does.
    """
    shards = _shards(name, path)
    samples = _Samples(name, shards)
    return build(name, samples, Options(**options), source=path, skipped=lambda: samples.skipped)


class _Samples:
    """The keys of all shards that have an image, and what was passed over so far, by reason."""

    def __init__(self, name: str, shards: list[Path]) -> None:
        self.name = name
        self.shards = shards
        self.skipped: Counter[str] = Counter()

    def __iter__(self) -> Iterator[ProbeEntry]:
        for shard in self.shards:
            for key, sample in self._read(shard).items():
                if sample.image is None:
                    self.skipped["without an image"] += 1
                else:
                    yield ProbeEntry(f"{shard.stem}/{key}", sample.image, self._caption(shard, key, sample.texts))

    def _read(self, shard: Path) -> dict[str, _Sample]:
        """What the shard has, by key; only headers and texts are read."""
        samples: dict[str, _Sample] = {}
        try:
            with tarfile.open(shard, "r:") as tar:
                for member in tar:
                    self._add(shard, samples, tar, member)
        except (tarfile.TarError, OSError) as error:
            raise VlmatchError(self._broken(shard, error)) from error
        return samples

    def _add(self, shard: Path, samples: dict[str, _Sample], tar: tarfile.TarFile, member: tarfile.TarInfo) -> None:
        if member.isdir():
            return
        folder, _, file = member.name.rpartition("/")
        stem, _, extension = file.partition(".")
        key = f"{folder}/{stem}" if folder else stem
        extension = extension.lower()
        if not member.isreg() or member.issparse() or extension not in (*IMAGES, "txt", "json"):
            self.skipped["other members"] += 1
            return
        sample = samples.setdefault(key, _Sample())
        if (extension in IMAGES and sample.image is not None) or extension in sample.texts:
            raise VlmatchError(
                f"probe '{self.name}': {shard}: key '{key}' has {member.name} besides; every pair needs its own key"
            )
        if extension in IMAGES:
            sample.image = TarMember(shard, member.name, member.offset_data, member.size)
            return
        content = tar.extractfile(member)
        if content is None or member.size > MAX_TEXT:
            raise VlmatchError(
                f"probe '{self.name}': {shard}: {member.name} has {member.size:,} bytes; a caption has at most "
                f"{MAX_TEXT:,}"
            )
        sample.texts[extension] = content.read()

    def _caption(self, shard: Path, key: str, texts: dict[str, bytes]) -> str:
        """The caption; '' where there is none."""
        kind = "txt" if "txt" in texts else "json"
        try:
            text = texts.get(kind, b"{}").decode("utf-8-sig")
            if kind == "txt":
                return text.strip()
            values = json.loads(text)
            found = (values.get(name) for name in CAPTION_KEYS) if isinstance(values, dict) else ()
            return next((str(value).strip() for value in found if value), "")
        except ValueError as error:
            raise VlmatchError(
                f"probe '{self.name}': {shard}: {key}.{kind} can't be read ({error}); save it as UTF-8 {kind}"
            ) from error

    def _broken(self, shard: Path, error: Exception) -> str:
        with shard.open("rb") as file:
            magic = file.read(6)
        if magic.startswith((b"\x1f\x8b", b"BZh", b"\xfd7zXZ", b"\x28\xb5\x2f\xfd")):
            return (
                f"probe '{self.name}': {shard} is compressed, and images are read in place; unpack it to a plain .tar "
                f"(gunzip, bunzip2, xz -d or zstd -d)"
            )
        return f"probe '{self.name}': {shard} is no whole tar file ({error}); fetch it again"


def _shards(name: str, path: str) -> list[Path]:
    """The shards that the path names, sorted within each pattern."""
    if _ADDRESS.match(path):
        raise VlmatchError(f"probe '{name}': probe.path={path} is an address; only tar files on this machine are read")
    if Path(path).expanduser().is_file():
        return [Path(path).expanduser()]
    shards = []
    for pattern in _expanded(str(Path(path).expanduser())):
        found = sorted(glob.glob(pattern)) if glob.has_magic(pattern) else [pattern]
        if not found or not Path(found[0]).is_file():
            raise VlmatchError(f"probe '{name}': no shard '{pattern}' (probe.path={path}); give a .tar, or a pattern")
        shards += [Path(file) for file in found]
    return shards


def _expanded(pattern: str) -> list[str]:
    """The pattern with each {0000..0009} and {a,b} replaced by its values."""
    pieces = _BRACES.split(pattern)  # text, braces, text, ...
    choices = [[piece] if place % 2 == 0 else _choices(piece) for place, piece in enumerate(pieces)]
    return ["".join(chosen) for chosen in itertools.product(*choices)]


def _choices(braces: str) -> list[str]:
    numbers = _RANGE.fullmatch(braces)
    if numbers is None:
        return braces.split(",")
    first, last = numbers.groups()
    return [str(number).zfill(len(first)) for number in range(int(first), int(last) + 1)]
