"""Packages of the npm registry: their archive downloaded and checked, and the wanted files in it unpacked safely."""

import errno
import gzip
import os
import re
import shutil
import subprocess
import tarfile
import urllib.request
import zlib
from pathlib import Path
from typing import IO, cast

from vlmatch.errors import NotHereError, VlmatchError, one_line
from vlmatch.files import sha256_of_file
from vlmatch.network import require_network

MAX_UNPACKED_BYTES = 4 * 2**30
SECONDS = 600  # longest wait for one download

_ALL = re.compile(r".+", re.DOTALL)


def npm_tarball(name: str, version: str, sha256: str, folder: Path) -> Path:
    """Download the archive of one release into `folder`: by npm, else from the registry at npm_config_registry.

    That environment variable is npm's own. Nothing is installed, no script runs.
    Raises NotHereError where it can't be had or offline=true forbids to, VlmatchError where its SHA-256 is not
    `sha256`, OSError on a full disk.
    """
    require_network(f"npm package '{name}' {version}: its files are", "set VLMATCH_CACHE to a cache that has them")
    folder.mkdir(parents=True, exist_ok=True)
    archive = _by_npm(name, version, folder) if shutil.which("npm") else _by_address(name, version, folder)
    digest = sha256_of_file(archive)
    if digest != sha256:
        archive.unlink()
        raise VlmatchError(f"npm package '{name}' {version}: SHA-256 expected {sha256}, got {digest}; it is not used")
    return archive


def unpack_tarball(archive: Path, folder: Path, wanted: re.Pattern[str] = _ALL) -> None:
    """Write the regular files of an npm archive whose whole name `wanted` matches below `folder`.

    Names count from the archive's one top folder, e.g. 'dist/model.json'. Links and devices are passed over.
    Raises VlmatchError on a damaged archive, a name that leads out of the folder, or more than
    `MAX_UNPACKED_BYTES` in all, OSError on a full disk.
    """
    total = 0
    try:
        with tarfile.open(archive, mode="r:gz") as tar:
            for member in tar:
                name = member.name.partition("/")[2]
                if not member.isfile() or wanted.fullmatch(name) is None:
                    continue
                if ".." in name.split("/") or name.startswith("/") or "\\" in name or "\0" in name:
                    raise VlmatchError(f"archive '{archive.name}': member '{member.name}' leaves the folder")
                total += member.size
                if total > MAX_UNPACKED_BYTES:
                    raise VlmatchError(f"archive '{archive.name}': unpacks to more than {MAX_UNPACKED_BYTES} bytes")
                target = folder / name
                target.parent.mkdir(parents=True, exist_ok=True)
                with target.open("wb") as file:  # None only for what is no regular file
                    shutil.copyfileobj(cast("IO[bytes]", tar.extractfile(member)), file)
    except (tarfile.TarError, gzip.BadGzipFile, EOFError, zlib.error) as error:
        raise VlmatchError(
            f"archive '{archive.name}' can't be unpacked ({one_line(error)[:160]}); fetch it again"
        ) from error


def _by_npm(name: str, version: str, folder: Path) -> Path:
    command = ["npm", "pack", f"{name}@{version}", "--silent", "--ignore-scripts", "--pack-destination", str(folder)]
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=SECONDS)
    except subprocess.TimeoutExpired as error:
        raise _not_here(name, version, f"npm took longer than {SECONDS} s") from error
    archives = sorted(folder.glob("*.tgz"))
    if done.returncode != 0 or len(archives) != 1:
        raise _not_here(name, version, one_line(done.stderr)[:200] or f"npm ended with {done.returncode}")
    return archives[0]


def _by_address(name: str, version: str, folder: Path) -> Path:
    registry = os.environ.get("npm_config_registry", "").rstrip("/")  # noqa: SIM112 - npm's own spelling
    if not registry:
        raise _not_here(name, version, "npm is not installed")
    if not registry.startswith("https://"):
        raise _not_here(name, version, f"npm_config_registry={registry} is no https address")
    archive = folder / f"{name.rpartition('/')[2]}-{version}.tgz"
    address = f"{registry}/{name}/-/{archive.name}"
    try:
        with urllib.request.urlopen(address, timeout=60) as answer, archive.open("wb") as file:  # noqa: S310 - https
            shutil.copyfileobj(answer, file)
    except OSError as error:
        if error.errno in {errno.ENOSPC, errno.EDQUOT}:
            raise
        raise _not_here(name, version, one_line(error)[:200]) from error
    return archive


def _not_here(name: str, version: str, why: str) -> NotHereError:
    return NotHereError(
        f"npm package '{name}' {version} can't be had ({why}); check the network, install npm, or set "
        "npm_config_registry to the address of a registry that has it"
    )
