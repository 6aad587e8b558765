"""Errors of files as one line: a disk that refuses, with the setting that names another place, or a damaged file."""

import errno
import os
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from vlmatch import paths
from vlmatch.errors import VlmatchError, one_line
from vlmatch.files import FULL

_REFUSALS = {
    errno.ENOSPC: "the disk is full; free some space",
    errno.EDQUOT: "the disk quota is used up; free some space",
    errno.EROFS: "this is a read-only file system; make it writable",
    errno.EACCES: "permission denied; change its owner or permissions",
    errno.EPERM: "permission denied; change its owner or permissions",
    errno.ENOTDIR: "a file stands where a folder is needed; move it away",
    errno.EEXIST: "a file stands where a folder is needed; move it away",
    errno.EISDIR: "a folder stands where a file is needed; move it away",
    errno.ENAMETOOLONG: "its name is too long for the file system; give a shorter one",
    errno.ELOOP: "its links lead in a circle; remove one of them",
    errno.EIO: "the disk fails to read or write; see the system's log",
    errno.ESTALE: "its file server has lost it; mount it again",
    errno.ENOENT: "this file system takes no files; mount another one there",  # only if `_takes_no_files`
}
_FULL = (FULL, "database or disk is full")  # safetensors and sqlite say it without the error's number
# Starts of the keys that name files and folders to write.
_OF_PLACES = (
    "store", "outputs", "tracking.folder", "task.", "data", "results", "answer.", "hydra.run.dir", "hydra.sweep.dir",
)  # fmt: skip
_OF_FILES = ("answer.", "task.record")  # those of them that name a file
_NO_OTHER_PLACE_HELPS = (errno.ENAMETOOLONG,)


def is_refused(error: BaseException) -> bool:
    """Whether a disk raised the error: it is full or read-only, it denies access, or something is in the way."""
    return _number(error) is not None


def is_full(error: BaseException) -> bool:
    """Whether an error says that the disk is full, with its number or without."""
    return any(text in str(error) for text in _FULL)


def refusal(error: BaseException, arguments: Iterable[str] = ()) -> str:
    """The line for an error that `is_refused` accepts. arguments: the command line, which may name folders."""
    number = _number(error) or errno.ENOSPC
    file = error.filename if isinstance(error, OSError) else None
    setting = None if file is None or number in _NO_OTHER_PLACE_HELPS else _setting_of(Path(str(file)), arguments)
    otherwise = f", or give another place: {setting}" if setting else ""
    return one_line(f"{file or 'writing'}: {_REFUSALS[number]}{otherwise}")


@contextmanager
def faults_as(error_of: Callable[[Exception], VlmatchError]) -> Iterator[None]:
    """Turn any error in the block into what `error_of` makes of it; for calls of code that may raise anything.

    VlmatchError passes through, and so do errors of a disk that refuses, because the command line explains them.
    """
    try:
        yield
    except VlmatchError:
        raise
    except Exception as error:
        if is_refused(error):
            raise
        raise error_of(error) from error


@contextmanager
def reading(path: Path, remedy: str) -> Iterator[None]:
    """Turn any error in the block, which reads one of our own files, into VlmatchError: the file is damaged.

    remedy: what to do about it. A disk that refuses keeps its own error.
    """

    def damaged(error: Exception) -> VlmatchError:
        reason = one_line(error)[:160] or type(error).__name__
        return VlmatchError(f"'{path}' is damaged ({reason}); {remedy}")

    with faults_as(damaged):
        yield


def _number(error: BaseException) -> int | None:
    """The key of `_REFUSALS` that explains an error; None for an error of another kind."""
    if isinstance(error, OSError) and error.errno in _REFUSALS:
        return error.errno if error.errno != errno.ENOENT or _takes_no_files(error.filename) else None
    return errno.ENOSPC if is_full(error) else None


def _takes_no_files(file: object) -> bool:
    """Whether a path lies in a file system that can't hold files, such as /proc, where a new folder is "not there"."""
    if not isinstance(file, str | os.PathLike):
        return False
    existing = next((folder for folder in Path(file).absolute().parents if folder.exists()), Path("/"))
    return os.statvfs(existing).f_blocks == 0


def _setting_of(file: Path, arguments: Iterable[str]) -> str | None:
    """The setting that moves a file elsewhere, as one would type it; None for a file in none of our folders."""
    given = (argument.lstrip("+").partition("=") for argument in arguments)
    folders: Mapping[str, Path] = {
        "VLMATCH_CACHE=FOLDER, an environment variable": paths.cache(),
        "outputs=FOLDER": paths.root() / "outputs",
        "tracking.folder=FOLDER": paths.root() / "mlruns",
        "task.runs=FOLDER": paths.root() / "training" / "runs",
        "data=FOLDER": paths.root() / "data",
        "results=FOLDER": paths.results(),
        **{f"{key}={_kind(key)}": Path(value) for key, _, value in given if value and key.startswith(_OF_PLACES)},
    }
    depths = [(len(folder.absolute().parts), setting, folder) for setting, folder in folders.items()]
    holding = [(depth, setting) for depth, setting, folder in depths if _holds(folder, file)]
    # The folder that can't be made may lie above the one that a setting names.
    above = [(depth, setting) for depth, setting, folder in depths if _holds(file, folder)]
    return max(holding or above, default=(0, None))[1]


def _kind(key: str) -> str:
    """What a key takes, a file or a folder."""
    return "FILE" if key.startswith(_OF_FILES) else "FOLDER"


def _holds(folder: Path, file: Path) -> bool:
    return file.absolute().is_relative_to(folder.absolute())
