"""Where images lie: a folder, or a zip file, which is read in place and never unpacked."""

import io
import os
import re
import unicodedata
import zipfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path, PurePosixPath
from typing import IO

from vlmatch.errors import VlmatchError, one_line
from vlmatch.files import Stamp, require_regular, stamp_of
from vlmatch.probes.images import MAX_BYTES, ImageError, ImageSource

OUTSIDE = "images_outside"
"""The option that allows images outside of their folder."""

MAX_PACKING = 200  # times its stored size: a large member of a zip may unpack to no more; images hardly compress
_LOCAL = "file://"
_ADDRESS = re.compile(r"[a-z][a-z0-9+.-]*://", re.IGNORECASE)
_SMALL = 20_000_000  # bytes; up to this size, a member may be packed to any degree


@dataclass(frozen=True)
class ZipMember:
    """An image inside a zip file; `member` is its name there."""

    archive: Path
    member: str

    @property
    def name(self) -> str:
        """The member's name."""
        return self.member

    def __str__(self) -> str:
        """The member's name, and the zip file it is in."""
        return f"{self.member} in {self.archive}"

    def read(self) -> bytes:
        """The bytes of the member. Raises ImageError if it is not there, too large, encrypted or damaged."""
        try:
            return _read(self.archive, self.member)
        except KeyError as error:
            raise ImageError(f"image '{self}' is not there", "not there", "fix its name or remove its row") from error
        except ValueError as error:
            raise ImageError(f"image '{self}' {error}", "too large", "shrink it, or leave it out") from error
        except Exception as error:  # what zipfile and the decompressors raise on damaged or encrypted members
            problem = f"image '{self}' can't be read ({one_line(error)})"
            raise ImageError(problem, "can't be read", "write the zip file again, without a password") from error


def is_zip(path: Path) -> bool:
    """Whether a path names a zip file, by its ending."""
    return path.suffix.lower() == ".zip" and os.path.isfile(path)


def image_of(place: Path, name: str, key: str, *, outside: bool = False) -> ImageSource:
    """An image by its path within `place`, a folder or zip file; links inside the folder are followed.

    key: the setting that names the place. outside: whether the path may lead out of it, by '..' or because it is
    absolute. Raises ImageError if it leads out and may not, because data from a stranger could put pictures of this
    machine into the report. Also raises it for an address.
    """
    name = name.removeprefix(_LOCAL)
    path = PurePosixPath(name.replace("\\", "/"))
    if path.is_absolute() or ".." in path.parts:
        inside = _inside(place, path)
        if inside is None and not outside:
            option = f"{key.rpartition('.')[0]}.{OUTSIDE}"
            raise ImageError(
                f"image '{name}' lies outside of {key}={place}, which only {option}=true allows",
                "outside of the images' folder",
                f"give that if you trust the data, or another {key}, which paths start from",
            )
        name = inside or name
    return image_in(place, name)


def image_in(place: Path, name: str) -> ImageSource:
    r"""The image of this name in a folder or zip file; whether it exists is not checked before it is read.

    Accents may be composed (NFC) or not (NFD), as macOS writes names, and folders may be split by '\', as on Windows.
    Raises ImageError for an address or a data URI, which are not paths.
    """
    if name.lower().startswith("data:"):
        raise ImageError(f"image '{name[:30]}' is the image itself, not a path", "not files", f"write it to {place}")
    if _ADDRESS.match(name):
        raise ImageError(
            f"image '{name[:80]}' is an address, not a path", "at an address", f"download such images to {place}"
        )
    if is_zip(place):
        return ZipMember(place, _member(place, name) or name)
    if name.isascii() and "\\" not in name:
        return place / name
    spelt = None if os.path.exists(place / name) else _spelt(place, name)
    return spelt or place / name


def distinct_names(files: Sequence[Path]) -> dict[Path, str]:
    """A name for each file, for its pairs' ids: without folders and ending, unless two names would be the same."""
    names = {file: file.stem for file in files}
    if len(set(names.values())) == len(names):
        return names
    top = os.path.commonpath([file.parent for file in files])
    return {file: file.relative_to(top).with_suffix("").as_posix() for file in files}


def names_in(place: Path) -> list[str]:
    """The names of all files in a folder or zip file, sorted; hidden ones are left out.

    Raises VlmatchError if the zip file can't be read.
    """
    found = _archive(*_now(place)).namelist() if is_zip(place) else _walked(place)
    return sorted(name for name in found if not name.endswith("/") and not _hidden(name))


def opened(place: Path, name: str) -> IO[bytes]:
    """Open a file in a folder or zip file to read its bytes; a member of a zip file is read into memory.

    Raises OSError, or VlmatchError if a member of a zip file can't be read.
    """
    if not is_zip(place):
        require_regular(place / name)
        return (place / name).open("rb")
    try:
        return io.BytesIO(_read(place, name))
    except Exception as error:
        raise VlmatchError(
            f"'{name}' in {place} can't be read ({one_line(error)}); write the zip file again"
        ) from error


def _read(archive: Path, member: str) -> bytes:
    """Raises KeyError if there is no such member, ValueError if it takes too much memory, and zipfile's own errors."""
    found = _archive(*_now(archive))
    info = found.getinfo(member)
    if info.file_size > MAX_BYTES:
        raise ValueError(f"is too large ({info.file_size:,} bytes; the limit is {MAX_BYTES:,})")
    if info.file_size > _SMALL and info.file_size > MAX_PACKING * info.compress_size:
        raise ValueError(f"is too large ({info.compress_size:,} bytes that unpack to {info.file_size:,})")
    return found.read(info)


def _member(archive: Path, name: str) -> str | None:
    """The member that `name` means; it may lie below the only top folder of the zip file."""
    members, top = _members(*_now(archive))
    plain = _plain(name)
    return members.get(plain) or members.get(f"{top}/{plain}")


def _now(archive: Path) -> tuple[Path, int, Stamp | None]:
    """The cache key of an open zip file, which may change. Each process has its own: an open file has one position."""
    return archive, os.getpid(), stamp_of(archive)


@lru_cache(maxsize=4)
def _members(archive: Path, process: int, stamp: Stamp | None) -> tuple[dict[str, str], str]:
    """The members by their plain names, and the folder that all are in, or ''."""
    members = {_plain(name): name for name in _archive(archive, process, stamp).namelist()}
    tops = {name.partition("/")[0] for name in members if not _hidden(name)}
    return members, tops.pop() if len(tops) == 1 else ""


@lru_cache(maxsize=4)
def _archive(archive: Path, process: int, stamp: Stamp | None) -> zipfile.ZipFile:
    try:
        return zipfile.ZipFile(archive)
    except Exception as error:
        raise VlmatchError(f"'{archive}' can't be read as a zip file ({one_line(error)}); fetch it again") from error


def _plain(name: str) -> str:
    """The one spelling of all names that mean the same member."""
    return unicodedata.normalize("NFC", PurePosixPath(name.replace("\\", "/")).as_posix())


def _spelt(folder: Path, name: str) -> Path | None:
    """The file whose name has the same characters, however they are composed; None if there is none."""
    path = folder
    for part in PurePosixPath(name.replace("\\", "/")).parts:
        forms = dict.fromkeys((part, *(unicodedata.normalize(form, part) for form in ("NFC", "NFD"))))
        found = next((path / form for form in forms if os.path.exists(path / form)), None)
        if found is None:
            return None
        path = found
    return path


def _inside(place: Path, path: PurePosixPath) -> str | None:
    """The path relative to `place`, without '..'; None if it leads out of `place`."""
    top = os.path.abspath(place)
    found = Path(os.path.normpath(os.path.join(top, path)))
    return found.relative_to(top).as_posix() if found.is_relative_to(top) else None


def _walked(folder: Path) -> Iterator[str]:
    """The paths of all files below a folder; folders that links lead to are entered once."""
    entered = {os.path.realpath(folder)}
    for where, folders, files in os.walk(folder, followlinks=True):
        for name in list(folders):
            place = os.path.realpath(os.path.join(where, name))
            if place in entered:
                folders.remove(name)
            entered.add(place)
        for name in files:
            yield Path(where, name).relative_to(folder).as_posix()


def _hidden(name: str) -> bool:
    """Whether the user did not mean a file: its name, or a folder's, starts with a dot, or macOS added it to a zip."""
    return any((part.startswith(".") and part not in (".", "..")) or part == "__MACOSX" for part in name.split("/"))
