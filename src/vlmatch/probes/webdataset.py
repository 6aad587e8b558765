"""WebDataset shards: tar files with KEY.jpg beside KEY.txt or KEY.json, read in place and never unpacked."""

import glob
import itertools
import json
import re
import tarfile
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from vlmatch.errors import VlmatchError
from vlmatch.objects import buildable
from vlmatch.probes.captions import first_caption
from vlmatch.probes.images import MAX_BYTES, ImageError
from vlmatch.probes.pairs import ProbeEntry, ProbeSet
from vlmatch.probes.problems import EntryError
from vlmatch.probes.selection import ProbeOptions, build_probe_set

IMAGES = ("jpg", "jpeg", "png", "webp", "gif", "bmp", "tif", "tiff", "avif", "jp2", "ppm")
CAPTION_KEYS = ("caption", "text")
MAX_TEXT = 1_000_000  # bytes of a .txt or .json

_READ_AT_ONCE = 1 << 20  # bytes
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
        """The bytes of the member. Raises ImageError if there are too many, or the shard has been cut off since."""
        if self.size > MAX_BYTES:
            raise ImageError(
                f"image '{self}' is too large ({self.size:,} bytes; the limit is {MAX_BYTES:,})",
                "too large",
                "shrink it, or leave it out",
            )
        with self.shard.open("rb") as file:
            file.seek(self.offset)
            content = file.read(self.size)
        if len(content) < self.size:
            raise ImageError(f"image '{self}' is cut off", "can't be read", "fetch the shard again")
        return content


@dataclass
class _Sample:
    """The members of one key in a shard: an image, and texts by extension."""

    image: TarMember | None = None
    texts: dict[str, bytes] = field(default_factory=dict)
    problem: EntryError | None = None


@buildable
def webdataset(path: str, name: str = "webdataset", **options: Any) -> ProbeSet:
    """Read the pairs of the tar shards that `path` names, shard by shard, in the order of their keys' first members.

    `path` is a file, a glob (shards/*.tar) or has braces (shard-{0000..0009}.tar). A pair is KEY.jpg (or another of
    `IMAGES`) with the text of KEY.txt or, if that is absent or empty, the 'caption' (or 'text') of KEY.json. Its id is
    SHARD/KEY. Other members, such as links, are counted and never opened; keys without an image are skipped and
    counted. A member's name serves as an id only, so a name that leads out of a folder does no harm. `options` are
    those of `selection.ProbeOptions`.

    A shard must end with the end-of-archive mark of the tar format, a block of 512 zeros: without it, a shard that was
    cut off between two members would look whole. Whatever follows that block must be zeros too.

    Raises VlmatchError for an address (pipe:, http:), a compressed or cut shard, or as `selection.build_probe_set`
    does.
    """
    shards = _shards(name, path)
    samples = _Samples(name, shards)
    return build_probe_set(name, samples, ProbeOptions(**options), source=path, skipped=lambda: samples.skipped)


class _Samples:
    """The keys of all shards that have an image, and the number of other keys and members so far, by reason."""

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
                    yield _entry(shard, key, sample.image, sample)

    def _read(self, shard: Path) -> dict[str, _Sample]:
        """The samples of a shard by key; only headers and texts are read."""
        samples: dict[str, _Sample] = {}
        try:
            with tarfile.open(shard, "r:") as tar:
                for member in tar:
                    self._add(shard, samples, tar, member)
                end = tar.offset
            _require_end(shard, end)
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
                f"probe '{self.name}': {shard}: key '{key}' also has {member.name}; give every pair its own key"
            )
        if extension in IMAGES:
            sample.image = TarMember(shard, member.name, member.offset_data, member.size)
        elif member.size > MAX_TEXT:
            sample.texts[extension] = b""
            sample.problem = EntryError(
                f"{member.name} has {member.size:,} bytes; a caption's file has at most {MAX_TEXT:,}",
                "with too long a text",
            )
        else:
            content = tar.extractfile(member)
            sample.texts[extension] = content.read() if content is not None else b""

    def _broken(self, shard: Path, error: Exception) -> str:
        with shard.open("rb") as file:
            magic = file.read(6)
        if magic.startswith((b"\x1f\x8b", b"BZh", b"\xfd7zXZ", b"\x28\xb5\x2f\xfd")):
            return (
                f"probe '{self.name}': {shard} is compressed, but images are read in place; unpack it to a plain .tar "
                f"(gunzip, bunzip2, xz -d or zstd -d)"
            )
        return f"probe '{self.name}': {shard} is not a whole tar file ({error}); fetch it again"


def _entry(shard: Path, key: str, image: TarMember, sample: _Sample) -> ProbeEntry:
    try:
        if sample.problem is not None:
            raise sample.problem
        caption, n_captions = _caption(key, sample.texts)
    except EntryError as problem:
        return ProbeEntry.unusable(f"{shard}: key '{key}'", problem)
    return ProbeEntry(f"{shard.stem}/{key}", image, caption, n_captions=n_captions)


def _caption(key: str, texts: Mapping[str, bytes]) -> tuple[str, int]:
    """The caption, '' if there is none, and how many the json lists."""
    kind = "txt"
    try:
        if text := texts.get(kind, b"").decode("utf-8-sig").strip():
            return text, 1
        kind = "json"
        values = json.loads(texts.get(kind, b"{}").decode("utf-8-sig"))
    except (ValueError, RecursionError) as error:
        raise EntryError(
            f"{key}.{kind} can't be read ({error})", f"with a broken {kind}", f"save it as UTF-8 {kind}"
        ) from error
    given = values if isinstance(values, dict) else {}
    caption = next((given[name] for name in CAPTION_KEYS if given.get(name)), None)
    return first_caption(str(caption) if isinstance(caption, int | float) else caption, f"the caption in {key}.json")


def _require_end(shard: Path, offset: int) -> None:
    """Raise tarfile.ReadError unless the end-of-archive mark is at `offset`, and only zeros follow it."""
    with shard.open("rb") as file:
        file.seek(offset)
        if file.read(tarfile.BLOCKSIZE) != bytes(tarfile.BLOCKSIZE):
            raise tarfile.ReadError("it is cut off or damaged: the end-of-archive mark, 512 zeros, is missing")
        while rest := file.read(_READ_AT_ONCE):
            if rest.strip(b"\0"):
                raise tarfile.ReadError(
                    "data follow its end-of-archive mark, as after 'cat a.tar b.tar'; pass such shards one by one"
                )


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
            raise VlmatchError(f"probe '{name}': no shard '{pattern}' (probe.path={path}); give a .tar or a pattern")
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
