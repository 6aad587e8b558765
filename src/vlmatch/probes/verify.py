"""Verify a data folder against its .dvc file, because DVC itself accepts changed data silently."""

import hashlib
import json
from dataclasses import dataclass
from pathlib import Path

import yaml

from vlmatch.errors import VlmatchError


@dataclass(frozen=True)
class Checksum:
    """What DVC records of a folder: the checksum of its listing, its size in bytes and its number of files."""

    md5: str
    size: int
    nfiles: int


def dvc_checksum(folder: Path) -> Checksum:
    """The checksum that `dvc add folder` would write: MD5 of the JSON list of {md5, relpath}, and '.dir'.

    The list is sorted by relpath. The files' times, modes and order on disk do not count.
    """
    entries = []
    size = 0
    for path in sorted(item for item in folder.rglob("*") if item.is_file()):
        with path.open("rb") as file:
            digest = hashlib.file_digest(file, lambda: hashlib.md5(usedforsecurity=False)).hexdigest()
        entries.append({"md5": digest, "relpath": path.relative_to(folder).as_posix()})
        size += path.stat().st_size
    listing = json.dumps(sorted(entries, key=lambda entry: entry["relpath"]), sort_keys=True)
    md5 = hashlib.md5(listing.encode(), usedforsecurity=False).hexdigest()
    return Checksum(f"{md5}.dir", size, len(entries))


def verify_folder(folder: Path, dvc_file: Path, fetch: str = "task=fetch") -> Checksum:
    """Compare `folder` with the checksum in `dvc_file`, and return that; `fetch` is the command that fills the folder.

    Raises VlmatchError if the two differ (naming both), or if either file or folder is missing.
    """
    expected = _recorded(dvc_file)
    if not folder.is_dir():
        raise VlmatchError(f"data '{folder}' does not exist; get it with python src/run.py {fetch}, or dvc pull")
    got = dvc_checksum(folder)
    if got.md5 != expected.md5:
        raise VlmatchError(
            f"data '{folder}' differs from {dvc_file.name}: expected {_in_words(expected)}, got {_in_words(got)}; "
            f"restore it (dvc checkout {dvc_file.name} --force, or delete the folder and run python src/run.py "
            f"{fetch}), or accept the change (dvc add {folder.name})"
        )
    return got


def _recorded(dvc_file: Path) -> Checksum:
    try:
        out = yaml.safe_load(dvc_file.read_text(encoding="utf-8"))["outs"][0]
        return Checksum(str(out["md5"]), int(out["size"]), int(out["nfiles"]))
    except (OSError, yaml.YAMLError, KeyError, IndexError, TypeError, ValueError) as error:
        raise VlmatchError(
            f"'{dvc_file}' can't be read as the .dvc file of a folder ({type(error).__name__}); "
            "restore it from git, or write it again with dvc add"
        ) from error


def _in_words(checksum: Checksum) -> str:
    return f"{checksum.md5} ({checksum.nfiles} files, {checksum.size:,} bytes)"
