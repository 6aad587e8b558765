"""Read files out of a Debian package in Python: no root, no dpkg, and nothing but regular files of the wanted names."""

import re
import tarfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, cast

import zstandard

from vlmatch.errors import VlmatchError
from vlmatch.objects import Buildable
from vlmatch.packages.archives import Limits, files_of_tar, refusing_damage, write_files

LIMITS = Limits(total=500_000_000, each=20_000_000)  # bytes; the largest stamp has 3 MB

_STAMP = re.compile(r"usr/share/tuxpaint/stamps/(.+\.(?:png|svg|txt))")
_COPYRIGHT = re.compile(r"usr/share/doc/[^/]+/(copyright)")
_AR_MAGIC = b"!<arch>\n"
_AR_HEADER = 60  # bytes
_PACKAGE = re.compile(r"[a-z0-9][a-z0-9+.-]*")
_VERSION = re.compile(r"[0-9A-Za-z][0-9A-Za-z.+:~-]*")


@dataclass(frozen=True)
class Archive(Buildable):
    """The Debian package that holds a probe's data: its name and version, and the SHA-256 of the .deb file.

    `deb` is the path of the user's own copy of that file; without it apt downloads the package.
    """

    package: str
    version: str
    sha256: str
    deb: str | None = None

    def __post_init__(self) -> None:
        """Raise VlmatchError on a name or version that apt would read as an option or a path."""
        for key, grammar in (("package", _PACKAGE), ("version", _VERSION)):
            if not grammar.fullmatch(str(getattr(self, key))):
                raise VlmatchError(f"archive: {key}='{getattr(self, key)}' is not a valid {key} of a Debian package")


def unpack_stamps(deb: Path, destination: Path) -> None:
    """Write the captioned stamps and the copyright file of the package `deb` below the empty folder `destination`.

    A stamp is NAME.txt with NAME.png, or with NAME.svg if there is no PNG. Sounds and mirror images are left out.
    The same package gives the same bytes, modes and names each time.

    Raises VlmatchError as `read_members` does.
    """
    members = read_members(deb, _STAMP)
    write_files({name: members[name] for name in _needed(members)}, destination)


def read_members(deb: Path, wanted: re.Pattern[str], limits: Limits | None = None) -> dict[str, bytes]:
    """The regular files of the package whose whole path matches `wanted`, and the copyright file as 'copyright'.

    The key is what the pattern's one group matches. Links and devices are passed over.

    Raises VlmatchError if the file is not a Debian package or is damaged, if a member's name leads out of the folder,
    or if a member or all members together pass `limits` (None: `LIMITS`).
    """

    def named(path: str) -> str | None:
        match = wanted.fullmatch(path.removeprefix("./")) or _COPYRIGHT.fullmatch(path.removeprefix("./"))
        return None if match is None else match[1]

    with refusing_damage(deb.name), deb.open("rb") as file, _tar_of(file, deb) as tar:
        return {name: content.read() for name, content in files_of_tar(tar, deb.name, limits or LIMITS, named)}


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
    """Move to the start of the package's data.tar.xz, .zst or .gz, and return its name."""
    if file.read(len(_AR_MAGIC)) != _AR_MAGIC:
        raise VlmatchError(f"'{deb}' is not a Debian package; download it again")
    while len(header := file.read(_AR_HEADER)) == _AR_HEADER:
        name = header[:16].decode("ascii", "replace").rstrip(" /")
        if re.fullmatch(r"data\.tar\.(?:xz|zst|gz)", name):
            return name
        size = int(header[48:58])
        file.seek(size + size % 2, 1)
    raise VlmatchError(f"package '{deb}' holds no data.tar.xz, .zst or .gz; download it again")
