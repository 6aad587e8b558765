"""Unpack archives from strangers: only regular files, only below one folder, and only up to a size limit."""

import gzip
import lzma
import shutil
import tarfile
import zipfile
import zlib
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path, PurePosixPath, PureWindowsPath
from typing import IO, cast

import zstandard

from vlmatch.errors import VlmatchError, one_line

_DAMAGED = (
    zipfile.BadZipFile, tarfile.TarError, gzip.BadGzipFile, zlib.error, lzma.LZMAError, zstandard.ZstdError, EOFError,
    ValueError, RuntimeError,
)  # fmt: skip # RuntimeError: an encrypted zip, or a compression that zipfile does not know


@dataclass(frozen=True)
class Limits:
    """How many bytes an archive may hold once it is unpacked: all files together, and each one."""

    total: int
    each: int | None = None


def unpack_zip(archive: Path, folder: Path, limits: Limits) -> None:
    """Write the regular files of a zip file below `folder`; links are passed over.

    All names and sizes are checked before the first file is written. Raises VlmatchError on a damaged archive, a name
    that leads out of the folder, or too many bytes; OSError on a full disk.
    """
    with refusing_damage(archive.name), zipfile.ZipFile(archive) as opened:
        checks = _Checks(archive.name, limits)
        members = [member for member in opened.infolist() if not member.is_dir() and not _is_special(member)]
        for member in members:
            checks.admit(member.filename, member.file_size)
        for member in members:
            with opened.open(member) as content:
                _write(archive.name, folder, member.filename, content)


def unpack_tar(archive: Path, folder: Path, limits: Limits, named: Callable[[str], str | None]) -> None:
    """Write the regular files of a .tar.gz file below `folder`, each under the name that `named` gives it.

    `named` returns None for a member that is not wanted. Links and devices are passed over.
    Raises VlmatchError on a damaged archive, a name that leads out of the folder, or too many bytes; OSError on a full
    disk.
    """
    with refusing_damage(archive.name), tarfile.open(archive, mode="r:gz") as tar:
        for name, content in files_of_tar(tar, archive.name, limits, named):
            _write(archive.name, folder, name, content)


def files_of_tar(
    tar: tarfile.TarFile, archive: str, limits: Limits, named: Callable[[str], str | None]
) -> Iterator[tuple[str, IO[bytes]]]:
    """The wanted regular files of an open tar, with the names that `named` gives them; read each before the next.

    `archive` is its name, for error messages. Raises VlmatchError on a name that leads out of a folder, or too many
    bytes.
    """
    checks = _Checks(archive, limits)
    for member in tar:
        name = named(member.name) if member.isfile() else None
        if name is not None:
            checks.admit(name, member.size)
            yield name, cast("IO[bytes]", tar.extractfile(member))  # None only for what is not a regular file


def files_of_zip(
    content: IO[bytes], archive: str, limits: Limits, named: Callable[[str], str | None]
) -> Iterator[tuple[str, IO[bytes]]]:
    """The wanted regular files of a zip, with the names that `named` gives them; links are passed over.

    `archive` is its name, for error messages. Raises VlmatchError on a name that leads out of a folder, too many bytes,
    or damage.
    """
    with refusing_damage(archive), zipfile.ZipFile(content) as opened:
        checks = _Checks(archive, limits)
        for member in opened.infolist():
            name = None if member.is_dir() or _is_special(member) else named(member.filename)
            if name is not None:
                checks.admit(name, member.file_size)
                with opened.open(member) as file:
                    yield name, file


def write_files(files: Mapping[str, bytes], folder: Path) -> None:
    """Write files below `folder`, with the same modes whatever the umask."""
    for name in sorted(files):
        target = folder / name
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(files[name])
        target.chmod(0o644)
    for below in (item for item in folder.rglob("*") if item.is_dir()):
        below.chmod(0o755)


@contextmanager
def refusing_damage(archive: str) -> Iterator[None]:
    """Turn what the libraries raise on a damaged archive into one VlmatchError that names it."""
    try:
        yield
    except VlmatchError:  # raised by a check; it is a ValueError too
        raise
    except _DAMAGED as error:
        raise VlmatchError(f"archive '{archive}' is damaged ({one_line(error)[:160]}); fetch it again") from error


class _Checks:
    """The checks that every member of one archive must pass before it is written or read."""

    def __init__(self, archive: str, limits: Limits) -> None:
        self._archive = archive
        self._limits = limits
        self._total = 0

    def admit(self, name: str, size: int) -> None:
        """Raise VlmatchError if the member leads out of a folder, or passes a size limit."""
        if not _stays_inside(name):
            raise VlmatchError(
                f"archive '{self._archive}': member '{name}' would be written outside the folder; nothing is unpacked"
            )
        self._total += size
        if self._limits.each is not None and size > self._limits.each:
            raise VlmatchError(
                f"archive '{self._archive}': member '{name}' has {size} bytes; at most {self._limits.each} are "
                "allowed; nothing is unpacked"
            )
        if self._total > self._limits.total:
            raise VlmatchError(
                f"archive '{self._archive}': its files have more than {self._limits.total} bytes in all; "
                "nothing is unpacked"
            )


def _stays_inside(name: str) -> bool:
    """Whether a member's name is a relative path below the folder, on every system."""
    path = PurePosixPath(name)
    return not (
        path.is_absolute()
        or not path.name
        or ".." in path.parts
        or "\\" in name
        or "\0" in name
        or PureWindowsPath(name).anchor
    )


def _is_special(member: zipfile.ZipInfo) -> bool:
    """Whether a member of a zip is a link or a device: its Unix mode states another kind than a regular file."""
    kind = (member.external_attr >> 16) & 0o170000
    return kind not in (0, 0o100000)


def _write(archive: str, folder: Path, name: str, content: IO[bytes]) -> None:
    target = folder / name
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        with target.open("wb") as file:
            shutil.copyfileobj(content, file)
    except (FileExistsError, NotADirectoryError, IsADirectoryError) as error:
        raise VlmatchError(f"archive '{archive}': '{name}' is both a file and a folder; fetch it again") from error
