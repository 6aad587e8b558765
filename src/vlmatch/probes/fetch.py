"""Fetch the probe data that come inside a Debian package, checked by SHA-256 and put in place in one step."""

import os
import shutil
import subprocess
from pathlib import Path

from filelock import FileLock

from vlmatch import paths
from vlmatch.errors import NotHereError, VlmatchError, one_line
from vlmatch.files import sha256_of_file
from vlmatch.probes.deb import Archive, unpack_stamps

APT_SECONDS = 600  # longest wait for one apt command; the package has 161 MB


def fetch_stamps(destination: Path, archive: Archive) -> bool:
    """Fill the folder `destination` with the stamps of `archive`; byte for byte the same each time.

    A folder that is there is left alone (False is returned): whether it is right is `verify`'s to say. The
    package comes from `archive.deb` where the user gives it, else from apt. Nothing is installed, no root is
    needed, and an interrupted fetch leaves no half-filled folder.

    Raises NotHereError if the package can't be had, VlmatchError if its SHA-256 is another or it is damaged.
    """
    paths.cache().mkdir(parents=True, exist_ok=True)
    with FileLock(paths.cache() / "fetch.lock"):  # not beside the folder: what lies there is counted by DVC
        if destination.is_dir() and any(destination.iterdir()):
            return False
        staging = destination.with_name(f".{destination.name}.part")
        shutil.rmtree(staging, ignore_errors=True)  # what a killed fetch left
        try:
            _fill(staging, archive)
            os.replace(staging / "unpacked", destination)
        finally:
            shutil.rmtree(staging, ignore_errors=True)
    return True


def _fill(staging: Path, archive: Archive) -> None:
    """Unpack the checked package below `staging`."""
    (staging / "unpacked").mkdir(parents=True)
    deb = _given(archive) if archive.deb else _download(archive, staging)
    _check(deb, archive)
    unpack_stamps(deb, staging / "unpacked")
    (staging / "unpacked").chmod(0o755)


def _given(archive: Archive) -> Path:
    deb = Path(archive.deb or "").expanduser()
    if not deb.is_file():
        raise NotHereError(f"package file '{deb}' is not there; give probe.archive.deb the path of the .deb")
    return deb


def _download(archive: Archive, folder: Path) -> Path:
    wanted = f"{archive.package}={archive.version}"
    if shutil.which("apt-get") is None:
        raise _not_here(wanted, "there is no apt-get here")
    said = _apt(["download", wanted], folder)
    if _downloaded(folder) is None:  # the machine's lists may be absent or old: fetch them into a folder of our own
        lists, cache = folder / "lists", folder / "cache"
        (lists / "partial").mkdir(parents=True)
        (cache / "archives" / "partial").mkdir(parents=True)
        own = ["-o", f"Dir::State::Lists={lists}", "-o", f"Dir::Cache={cache}"]
        said = _apt([*own, "update"], folder) + _apt([*own, "download", wanted], folder)
    deb = _downloaded(folder)
    if deb is None:
        raise _not_here(wanted, one_line(said) or "apt-get gave no reason")
    return deb


def _apt(arguments: list[str], folder: Path) -> str:
    """Run apt-get in `folder` and return what it says about errors."""
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


def _check(deb: Path, archive: Archive) -> None:
    got = sha256_of_file(deb)
    if got != archive.sha256:
        raise VlmatchError(
            f"package '{deb.name}': SHA-256 expected {archive.sha256}, got {got}; "
            f"get version {archive.version} of {archive.package} unchanged"
        )


def _not_here(wanted: str, why: str) -> NotHereError:
    return NotHereError(
        f"package '{wanted}' can't be had by apt ({why}); download that .deb from a Debian mirror elsewhere and give "
        "probe.archive.deb=/path/to/it.deb, or use your own images (probe=folder)"
    )
