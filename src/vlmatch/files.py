"""Files on disk: safe names, whole writes under a temporary name, and SHA-256 digests."""

import contextlib
import errno
import hashlib
import os
import re
import secrets
import stat
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import NamedTuple, TypeVar

from vlmatch.errors import VlmatchError, shown

SETTLED = 1.0  # seconds after which a change of a file is sure to show in its time of modification
MAX_NAME_BYTES = 200  # file systems allow 255, and fingerprints are appended to names

FULL = os.strerror(errno.ENOSPC)
"""The system's message for a full disk; some libraries quote it but hide the error's number."""

ABSENT = (FileNotFoundError, NotADirectoryError)
"""The errors that mean that a file does not exist; any other OSError means that it can't be read."""

T = TypeVar("T")
FOLDER_NAME = (
    f"a name that starts with a letter or digit, goes on with letters, digits and . _ + -, and has at most "
    f"{MAX_NAME_BYTES} bytes"
)
"""What `is_folder_name` accepts, in words."""

_LFS = b"version https://git-lfs.github.com/spec/"
_UNUSED_NAME = re.compile(r"\..+\.[0-9a-f]{8}")
_FOLDER_NAME = re.compile(r"[A-Za-z0-9][\w.+-]*", re.ASCII)


@contextlib.contextmanager
def renamed(path: Path) -> Iterator[Path]:
    """Give a temporary name beside `path` to write to; it becomes `path` in one step unless the block raises.

    Disk errors name `path`, not the temporary file.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = unused_name(path)
    try:
        yield temporary
        os.replace(temporary, path)
    except Exception as error:
        if isinstance(error, OSError) and error.filename == str(temporary):
            error.filename = str(path)
        elif FULL in str(error):  # neither a write to an open file nor safetensors says which file it was
            raise OSError(errno.ENOSPC, FULL, str(path)) from error
        raise
    finally:
        temporary.unlink(missing_ok=True)


def unused_name(path: Path) -> Path:
    """A hidden name beside `path` that no other process, thread or machine writes to.

    It is random, because processes in different containers may have the same id.
    """
    return path.with_name(f".{path.name}.{secrets.token_hex(4)}")


def half_written(folder: Path) -> list[Path]:
    """The files at any depth of a folder that have a name of `unused_name`: a killed process left them behind."""
    return [path for path in folder.rglob(".*") if _UNUSED_NAME.fullmatch(path.name) and path.is_file()]


def write_text(path: Path, text: str) -> None:
    """Write a whole text in UTF-8: `path` holds what it held before, or all of `text`."""
    with renamed(path) as temporary:
        temporary.write_text(text, encoding="utf-8")


def sha256_of_file(path: Path) -> str:
    """SHA-256 of a file's bytes."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def joint_sha256(digests: Sequence[str]) -> str:
    """One SHA-256 for several files: of their concatenated digests, in this order. A single digest stays as it is."""
    return digests[0] if len(digests) == 1 else hashlib.sha256("".join(digests).encode()).hexdigest()


def is_folder_name(name: str) -> bool:
    """Whether a name can safely name a folder.

    It starts with a letter or digit, so it can't lead out of its folder, and a spreadsheet can't take it for a formula.
    """
    return _FOLDER_NAME.fullmatch(name) is not None and len(name.encode(errors="replace")) <= MAX_NAME_BYTES


def require_folder_name(key: str, name: object) -> None:
    """Raise VlmatchError unless `name`, the value given for `key`, can safely name a folder."""
    if not is_folder_name(str(name)):
        raise VlmatchError(f"{key}={shown(str(name))} can't name a folder; give {FOLDER_NAME}")


def require_regular(path: Path) -> None:
    """Raise OSError if there is no such file, or it is a pipe or device, which might be read for ever."""
    mode = path.stat().st_mode
    if stat.S_ISDIR(mode):
        raise IsADirectoryError(errno.EISDIR, "it is a folder", str(path))
    if not stat.S_ISREG(mode):
        raise OSError(errno.EINVAL, "it is a pipe, socket or device", str(path))


def is_lfs_pointer(path: Path) -> bool:
    """Whether a file is only Git LFS's pointer to a large file, which `git lfs pull` would fetch."""
    try:
        require_regular(path)
        with path.open("rb") as file:
            return file.read(len(_LFS)) == _LFS
    except OSError:
        return False


def without_pipes(owner: str, folder: Path) -> Path:
    """Return a model's folder; VlmatchError if it holds a pipe, socket or device, because reading one may never end.

    owner: the model, for the message, such as "llm 'mine'".
    """
    for file in sorted(folder.iterdir()):
        if file.exists() and not (file.is_file() or file.is_dir()):
            raise VlmatchError(f"{owner}: '{file}' is a pipe, socket or device; move it out of the model's folder")
    return folder


class Stamp(NamedTuple):
    """What tells whether a file has changed: its inode, its size in bytes, and its time of modification."""

    inode: int
    size: int
    modified_ns: int

    def settled_at(self, seconds: float) -> bool:
        """Whether any change after this time would change the stamp: file systems record time in coarse steps."""
        return seconds - self.modified_ns / 1e9 > SETTLED


def stamp_of(path: Path) -> Stamp | None:
    """The stamp of a file now; None if there is no file."""
    try:
        status = path.stat()
    except OSError:
        return None
    return Stamp(status.st_ino, status.st_size, status.st_mtime_ns)


def remembering(read: Callable[[Path], T]) -> Callable[[Path], T]:
    """A function that reads a file as `read` does, and reads it again only if it has changed since.

    What it returns is shared between calls and must not be changed. A file counts as changed if it was replaced or has
    another size or time; one that was modified within the last second is always read, because file systems record time
    in coarse steps.
    """
    kept: dict[Path, tuple[Stamp, T]] = {}

    def reading(path: Path) -> T:
        stamp = stamp_of(path)
        if stamp is None:
            return read(path)
        if path in kept and kept[path][0] == stamp:
            return kept[path][1]
        found = read(path)
        if stamp.settled_at(time.time()):
            kept[path] = (stamp, found)
        return found

    return reading
