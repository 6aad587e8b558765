"""Unpacked packages: the SHA-256 of each file, listed when a package is unpacked and compared when a file is used."""

import base64
import csv
import json
from collections.abc import Mapping
from pathlib import Path

from vlmatch.errors import VlmatchError
from vlmatch.files import sha256_of_file, write_text

STAMP = ".wheel.sha256"  # the SHA-256 of the archive that the folder was unpacked from
LIST = ".files.sha256.json"  # the SHA-256 of each file, by its path in the folder


def write_list(folder: Path, archive_sha256: str) -> None:
    """Record the SHA-256 of the archive that `folder` was just unpacked from, and of every file in it."""
    digests = {name: sha256_of_file(folder / name) for name in _files(folder)}
    (folder / STAMP).write_text(archive_sha256)
    _save(folder, digests)


def has_list(folder: Path) -> bool:
    """Whether the SHA-256 of the archive and of the folder's files are recorded; vlmatch 0.1 kept only the first."""
    return (folder / LIST).is_file() and (folder / STAMP).is_file()


def sealed_by(folder: Path) -> str:
    """The SHA-256 of the archive that the folder was unpacked from."""
    return (folder / STAMP).read_text()


def list_from_record(folder: Path) -> bool:
    """Record the SHA-256 of the files of an unpacked wheel if its own RECORD describes every file as it is now.

    Every wheel carries a RECORD of its files' SHA-256. Returns whether they were recorded: not for an npm
    package, if a file was changed or added since, or if the SHA-256 of the archive is not recorded.
    """
    recorded = _record(folder) if (folder / STAMP).is_file() else {}
    digests = {name: sha256_of_file(folder / name) for name in _files(folder)}
    described = {name: digest for name, digest in digests.items() if not name.endswith(".dist-info/RECORD")}
    if not recorded or recorded != described:
        return False
    _save(folder, digests)
    return True


def refuse_changed(folder: Path, digests: Mapping[Path, str]) -> None:
    """Raise VlmatchError if a file below `folder` no longer has the SHA-256 that it had when it was unpacked.

    digests: the SHA-256 of files, as they are now.
    """
    listed = _load(folder)
    for path, digest in digests.items():
        name = path.relative_to(folder).as_posix()
        if listed.get(name) != digest:
            raise VlmatchError(
                f"'{path}' has changed since its package was unpacked: SHA-256 expected {listed.get(name, 'none')}, "
                f"got {digest}; remove '{folder}' to fetch it again"
            )


def _files(folder: Path) -> list[str]:
    """The paths of all files in a package, relative to its folder."""
    found = (path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file())
    return sorted(name for name in found if name not in (STAMP, LIST))


def _save(folder: Path, digests: Mapping[str, str]) -> None:
    write_text(folder / LIST, json.dumps(digests, indent=1, sort_keys=True) + "\n")


def _load(folder: Path) -> dict[str, str]:
    try:
        return dict(json.loads((folder / LIST).read_text(encoding="utf-8")))
    except (OSError, ValueError, TypeError) as error:
        raise VlmatchError(f"'{folder / LIST}' can't be read; remove '{folder}' to fetch it again") from error


def _record(folder: Path) -> dict[str, str]:
    """The SHA-256 that a wheel's RECORD states for each of its files, in hexadecimal; empty if there is none."""
    recorded: dict[str, str] = {}
    for path in folder.glob("*.dist-info/RECORD"):
        with path.open(encoding="utf-8", newline="") as rows:
            for name, stated, *_ in csv.reader(rows):
                kind, _, digest = stated.partition("=")
                if kind == "sha256":  # RECORD itself has none
                    recorded[name] = base64.urlsafe_b64decode(digest + "=" * (-len(digest) % 4)).hex()
    return recorded
