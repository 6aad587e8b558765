"""Read files out of a Debian package in Python: no root, no dpkg, and nothing but regular files of the wanted names."""

import lzma
import re
import tarfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, cast

import zstandard

from vlmatch.errors import VlmatchError
from vlmatch.objects import Buildable

MAX_FILE = 20_000_000  # bytes; the largest stamp has 3 MB
MAX_TOTAL = 500_000_000  # bytes

_STAMP = re.compile(r"usr/share/tuxpaint/stamps/(.+\.(?:png|svg|txt))")
_COPYRIGHT = re.compile(r"usr/share/doc/[^/]+/(copyright)")
_AR_MAGIC = b"!<arch>\n"
_AR_HEADER = 60  # bytes
_PACKAGE = re.compile(r"[a-z0-9][a-z0-9+.-]*")
_VERSION = re.compile(r"[0-9A-Za-z][0-9A-Za-z.+:~-]*")


@dataclass(frozen=True)
class Archive(Buildable):
    """The Debian package that holds a probe's data: its name and version, and the SHA-256 of the .deb file.

    `deb` is the path of a copy of that file that the user has at hand; without it apt downloads the package.
    """

    package: str
    version: str
    sha256: str
    deb: str | None = None

    def __post_init__(self) -> None:
        """Refuse what apt would take for an option or a path; VlmatchError."""
        for key, grammar in (("package", _PACKAGE), ("version", _VERSION)):
            if not grammar.fullmatch(str(getattr(self, key))):
                raise VlmatchError(f"archive: {key}='{getattr(self, key)}' is no {key} of Debian")


def unpack_stamps(deb: Path, destination: Path) -> None:
    """Write the captioned stamps and the copyright file of the package `deb` below the empty folder `destination`.

    Kept are NAME.txt with NAME.png, or with NAME.svg where there is no PNG; sounds and mirror images are not.
    The same package gives the same bytes, modes and names each time.

    Raises VlmatchError if the file is no Debian package, a member's name leads out of the folder, or a size
    limit is passed (`MAX_FILE`, `MAX_TOTAL` bytes).
    """
    members = read_members(deb, _STAMP)
    write_members({name: members[name] for name in _needed(members)}, destination)


def read_members(deb: Path, wanted: re.Pattern[str]) -> dict[str, bytes]:
    """The regular files of the package whose whole path matches `wanted`, and the copyright file as 'copyright'.

    The key is what the pattern's one group matches. Links and devices are passed over.

    Raises VlmatchError if the file is no Debian package, a member's name leads out of the folder, or a size
    limit is passed (`MAX_FILE`, `MAX_TOTAL` bytes).
    """
    try:
        with deb.open("rb") as file, _tar_of(file, deb) as tar:
            return _wanted(tar, deb, wanted)
    except (tarfile.TarError, lzma.LZMAError, zstandard.ZstdError, EOFError, ValueError, OSError) as error:
        raise VlmatchError(f"package '{deb}' is damaged ({error}); download it again") from error


def write_members(members: Mapping[str, bytes], destination: Path) -> None:
    """Write the files below the folder `destination`, with the same modes whatever the umask."""
    for name in sorted(members):
        target = destination / name
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(members[name])
        target.chmod(0o644)
    for folder in (item for item in destination.rglob("*") if item.is_dir()):
        folder.chmod(0o755)


def _wanted(tar: tarfile.TarFile, deb: Path, wanted: re.Pattern[str]) -> dict[str, bytes]:
    members: dict[str, bytes] = {}
    total = 0
    for member in tar:
        path = member.name.removeprefix("./")
        match = wanted.fullmatch(path) or _COPYRIGHT.fullmatch(path)
        if match is None or not member.isfile():  # links and devices are never followed or made
            continue
        name = match[1]
        if ".." in name.split("/") or "\\" in name or "\0" in name or name.startswith("/"):
            raise VlmatchError(f"package '{deb}': member '{member.name}' leads out of the folder; download it again")
        total += member.size
        if member.size > MAX_FILE or total > MAX_TOTAL:
            raise VlmatchError(f"package '{deb}': member '{member.name}' passes the size limit; download it again")
        members[name] = cast("IO[bytes]", tar.extractfile(member)).read()  # None only for what is no regular file
    return members


def _needed(members: dict[str, bytes]) -> set[str]:
    """The names to keep: each caption that has an image, that image (PNG before SVG), and the copyright file."""
    needed = {name for name in members if name == "copyright"}
    for caption in (name for name in members if name.endswith(".txt")):
        stem = caption.removesuffix(".txt")
        image = next((stem + suffix for suffix in (".png", ".svg") if stem + suffix in members), None)
        if image is not None:
            needed |= {caption, image}
    return needed


@contextmanager
def _tar_of(file: IO[bytes], deb: Path) -> Iterator[tarfile.TarFile]:
    """The data archive inside the package, as a stream; a .deb is an ar archive with a tar inside."""
    member = _seek_data(file, deb)
    if member.endswith(".zst"):
        with (
            zstandard.ZstdDecompressor().stream_reader(file) as stream,
            tarfile.open(fileobj=cast("IO[bytes]", stream), mode="r|") as tar,
        ):
            yield tar
    else:
        with tarfile.open(fileobj=file, mode="r|xz" if member.endswith(".xz") else "r|gz") as tar:
            yield tar


def _seek_data(file: IO[bytes], deb: Path) -> str:
    """Move to the start of data.tar.* and return its name; it is the last member that is read."""
    if file.read(len(_AR_MAGIC)) != _AR_MAGIC:
        raise VlmatchError(f"'{deb}' is no Debian package; download it again")
    while len(header := file.read(_AR_HEADER)) == _AR_HEADER:
        name = header[:16].decode("ascii", "replace").rstrip(" /")
        if re.fullmatch(r"data\.tar\.(?:xz|zst|gz)", name):
            return name
        size = int(header[48:58])
        file.seek(size + size % 2, 1)
    raise VlmatchError(f"package '{deb}' has no data.tar.xz, .zst or .gz in it; download it again")
