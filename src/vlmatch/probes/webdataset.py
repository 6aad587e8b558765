"""WebDataset shards: tar files with KEY.jpg beside KEY.txt or KEY.json, read in place and never unpacked."""

import glob
import os
import re
import tarfile
import unicodedata
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from vlmatch.errors import VlmatchError
from vlmatch.objects import buildable
from vlmatch.packages.hub import fetch_again
from vlmatch.probes.captions import caption_of
from vlmatch.probes.images import MAX_BYTES, SUFFIXES, ImageError
from vlmatch.probes.pairs import ProbeEntry, ProbeSet
from vlmatch.probes.places import distinct_names
from vlmatch.probes.problems import EntryError
from vlmatch.probes.selection import ProbeOptions, build_probe_set
from vlmatch.probes.text import parsed_json, text_of

IMAGES = tuple(suffix[1:] for suffix in SUFFIXES if suffix != ".svg")  # a drawing often lies beside its picture
CAPTION_KEYS = ("caption", "text")
MAX_TEXT = 1_000_000  # bytes of a .txt or .json

_KNOWN = (*IMAGES, "txt", "json")

_READ_AT_ONCE = 1 << 20  # bytes
_BRACES = re.compile(r"\{([^{}]*)\}")
_RANGE = re.compile(r"(\d{1,18})\.\.(\d{1,18})")
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
    """The members of one key in a shard: an image, and texts by extension. key: as its first member writes it."""

    key: str
    members: int = 0
    image: TarMember | None = None
    texts: dict[str, bytes] = field(default_factory=dict)
    problem: EntryError | None = None


@buildable
def webdataset(path: str, name: str = "webdataset", **options: Any) -> ProbeSet:
    """Read the pairs of the tar shards that `path` names, shard by shard, in the order of their keys' first members.

    `path` is a file, a glob (shards/*.tar) or has braces (shard-{0000..0009}.tar). A pair is KEY.jpg (or another of
    `IMAGES`) with the text of KEY.txt or, if that is absent or empty, the 'caption' (or 'text') of KEY.json; if they
    differ, the pair counts as one with several captions. Its id is SHARD/KEY; KEY may have dots in it, and SHARD
    includes folders only if two shards would have the same name. Other members, such as links, are counted and never
    opened; keys without an image are skipped and counted. A member's name serves as an id only, so a name that leads
    out of a folder does no harm. `options` are those of `selection.ProbeOptions`.

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
        names = distinct_names(self.shards)
        for shard in self.shards:
            samples = self._read(shard)
            for key, sample in samples.items():
                if _before_dot(key) in samples:
                    self.skipped["other members"] += sample.members
                elif sample.image is None and sample.problem is None:
                    self.skipped["without an image"] += 1
                else:
                    yield _entry(shard, names[shard], sample)

    def _read(self, shard: Path) -> dict[str, _Sample]:
        """The samples of a shard by key, accents composed; only headers and texts are read."""
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
        key, extension = _split(member.name)
        if not member.isreg() or member.issparse() or extension not in _KNOWN:
            self.skipped["other members"] += 1
            return
        sample = samples.setdefault(unicodedata.normalize("NFC", key), _Sample(key))
        sample.members += 1
        if (extension in IMAGES and sample.image is not None) or extension in sample.texts:
            sample.problem = EntryError(
                f"key '{key}' also has {member.name}", "with a repeated key", "give every pair its own key"
            )
        elif extension in IMAGES:
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
        return f"probe '{self.name}': {shard} is not a whole tar file ({error}); {fetch_again(shard)}"


def _split(name: str) -> tuple[str, str]:
    """A member's key and its extension, in lower case.

    The key ends at the first dot of the file's name, as WebDataset has it, so that 0001.seg.png is another member of
    0001; or at the last dot, if what follows the first one is no extension (photo.v2.jpg).
    """
    folder, _, file = name.rpartition("/")
    if file.startswith("."):  # hidden, as macOS adds such files to archives
        return name, ""
    stem, _, extension = file.partition(".")
    if extension.lower() not in _KNOWN and file.rpartition(".")[2].lower() in _KNOWN:
        stem, _, extension = file.rpartition(".")
    return f"{folder}/{stem}" if folder else stem, extension.lower()


def _before_dot(key: str) -> str | None:
    """A key up to the first dot of the file's name; None if it has no dot there."""
    folder, slash, stem = key.rpartition("/")
    return f"{folder}{slash}{stem.partition('.')[0]}" if "." in stem else None


def _entry(shard: Path, name: str, sample: _Sample) -> ProbeEntry:
    key = sample.key
    try:
        if sample.problem is not None:
            raise sample.problem
        caption, n_captions = _caption(key, sample.texts)
    except EntryError as problem:
        return ProbeEntry.unusable(f"{shard}: key '{key}'", problem)
    return ProbeEntry(f"{name}/{key}", sample.image or Path(), caption, n_captions=n_captions)


def _caption(key: str, texts: Mapping[str, bytes]) -> tuple[str, int]:
    """The caption ('' if there is none), and how many captions the json lists, or how many differ between the files."""
    text = _text(key, "txt", texts).strip()
    found = [(text, 1)] if text else []
    try:
        found += _captions_in_json(key, _text(key, "json", texts))
    except EntryError:
        if not found:
            raise
    caption, listed = found[0] if found else ("", 1)
    return caption, max(listed, len({each for each, _ in found}))


def _captions_in_json(key: str, text: str) -> list[tuple[str, int]]:
    """The captions under each of `CAPTION_KEYS` that is filled in, and how many it lists."""
    try:
        values = parsed_json(text or "{}")
    except EntryError as problem:
        raise _broken_text(key, "json", problem) from problem
    if isinstance(values, EntryError):
        raise values
    given = values if isinstance(values, dict) else {}
    found = [caption_of(given.get(name), f"'{name}' in {key}.json") for name in CAPTION_KEYS]
    return [(caption, listed) for caption, listed in found if caption]


def _text(key: str, kind: str, texts: Mapping[str, bytes]) -> str:
    try:
        return text_of("it", texts.get(kind, b""))
    except EntryError as problem:
        raise _broken_text(key, kind, problem) from problem


def _broken_text(key: str, kind: str, problem: EntryError) -> EntryError:
    return EntryError(
        f"{key}.{kind} can't be read ({problem.problem})", f"with a broken {kind}", f"save it as UTF-8 {kind}"
    )


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
    if os.path.isfile(Path(path).expanduser()):
        return [Path(path).expanduser()]
    shards = []
    for pattern in _expanded(str(Path(path).expanduser())):
        found = sorted(glob.glob(pattern)) if glob.has_magic(pattern) else [pattern]
        if not found or not all(os.path.isfile(file) for file in found):
            raise VlmatchError(f"probe '{name}': no shard '{pattern}' (probe.path={path}); give a .tar or a pattern")
        shards += [Path(file) for file in found]
    return shards


def _expanded(pattern: str) -> Iterator[str]:
    """The pattern with each {0000..0009} and {a,b} replaced by its values, one at a time: there may be too many."""
    braces = _BRACES.search(pattern)
    if braces is None:
        yield pattern
        return
    for choice in _choices(braces[1]):
        for rest in _expanded(pattern[braces.end() :]):
            yield f"{pattern[: braces.start()]}{choice}{rest}"


def _choices(braces: str) -> Iterator[str]:
    numbers = _RANGE.fullmatch(braces)
    if numbers is None:
        yield from braces.split(",")
        return
    ends = numbers.groups()
    width = max(map(len, ends)) if any(end[0] == "0" != end for end in ends) else 0  # as the shell pads them
    first, last = map(int, ends)
    step = 1 if first <= last else -1
    for number in range(first, last + step, step):
        yield str(number).zfill(width)
