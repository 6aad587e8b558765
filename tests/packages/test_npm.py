"""Packages of npm: had by npm or by address, checked, unpacked inside their folder; otherwise one line."""

import errno
import gzip
import hashlib
import http.client
import io
import re
import shutil
import subprocess
import tarfile
import urllib.error
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from vlmatch.errors import NotHereError, VlmatchError
from vlmatch.packages import npm
from vlmatch.packages import package as packages
from vlmatch.packages.archives import Limits
from vlmatch.packages.npm import npm_tarball, unpack_tarball
from vlmatch.packages.package import Package, package_folder
from vlmatch.packages.unpacked import LIST, STAMP

FILES = {"package/dist/model.json": b"{}", "package/package.json": b'{"name": "tiny"}', "package/LICENSE": b"MIT"}


def archive(path: Path, files: dict[str, bytes], links: tuple[tarfile.TarInfo, ...] = ()) -> str:
    """An npm archive; returns its SHA-256."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with tarfile.open(path, "w:gz") as tar:
        for link in links:
            tar.addfile(link)
        for name, content in files.items():
            member = tarfile.TarInfo(name)
            member.size = len(content)
            tar.addfile(member, io.BytesIO(content))
    return hashlib.sha256(path.read_bytes()).hexdigest()


def link(name: str, target: str, kind: bytes) -> tarfile.TarInfo:
    member = tarfile.TarInfo(name)
    member.type, member.linkname = kind, target
    return member


def names(folder: Path) -> list[str]:
    return sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file())


@pytest.fixture
def registry(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A machine without npm whose registry is a folder: <name>/-/<file>; gives the folder."""
    monkeypatch.setenv("VLMATCH_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("npm_config_registry", "https://registry.test/")
    monkeypatch.setattr(shutil, "which", lambda name: None)

    def answer(address: str, timeout: float) -> Any:
        assert address.startswith("https://registry.test/")
        place = tmp_path / "registry" / address.removeprefix("https://registry.test/")
        if not place.is_file():
            raise urllib.error.HTTPError(address, 404, "Not Found", None, None)  # type: ignore[arg-type]
        return place.open("rb")

    monkeypatch.setattr("urllib.request.urlopen", answer)
    return tmp_path / "registry"


@pytest.mark.parametrize(("name", "file"), [("tiny", "tiny-1.0.0.tgz"), ("@org/tiny", "tiny-1.0.0.tgz")])
def test_a_package_comes_from_its_registry_where_npm_is_absent(registry: Path, name: str, file: str) -> None:
    digest = archive(registry / name / "-" / file, FILES)
    package = Package.of({"name": name, "version": "1.0.0", "sha256": digest, "registry": "npm"})
    assert not packages.is_here(package)
    folder = package_folder(package)
    assert folder.name == f"npm-{name.replace('/', '-')}-1.0.0"
    assert names(folder) == [LIST, STAMP, "LICENSE", "dist/model.json", "package.json"]
    assert packages.is_here(package)
    shutil.rmtree(registry)
    assert package_folder(package) == folder


def test_a_wheel_and_an_npm_package_of_one_name_do_not_meet(registry: Path) -> None:
    entry = {"name": "tiny", "version": "1.0.0", "sha256": "0" * 64}
    assert Package.of(entry).folder != Package.of(entry | {"registry": "npm"}).folder
    with pytest.raises(VlmatchError, match=r"package 'tiny': registry='conda' is unknown; choose pypi or npm"):
        Package.of(entry | {"registry": "conda"})


def test_another_checksum_is_refused_and_nothing_is_kept(registry: Path) -> None:
    got = archive(registry / "tiny" / "-" / "tiny-1.0.0.tgz", FILES)
    package = Package("tiny", "1.0.0", "0" * 64, "npm")
    with pytest.raises(VlmatchError, match=rf"npm package 'tiny' 1.0.0: SHA-256 expected {'0' * 64}, got {got}"):
        package_folder(package)
    assert [path.suffix for path in package.folder.parent.iterdir()] == [".lock"]


def test_a_package_that_the_registry_lacks_is_not_here(registry: Path, tmp_path: Path) -> None:
    with pytest.raises(NotHereError, match=r"'none' 1 can't be downloaded .*404.*npm_config_registry") as caught:
        npm_tarball("none", "1", "0" * 64, tmp_path / "new")
    assert "\n" not in str(caught.value)


def test_an_answer_that_is_cut_short_is_not_here(
    registry: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def cut(address: str, timeout: float) -> Any:
        raise http.client.IncompleteRead(b"", 10)

    monkeypatch.setattr("urllib.request.urlopen", cut)
    with pytest.raises(NotHereError, match="IncompleteRead"):
        npm_tarball("tiny", "1.0.0", "0" * 64, tmp_path)


def test_without_npm_and_an_address_it_says_so(registry: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("npm_config_registry")
    with pytest.raises(NotHereError, match=r"'tiny' 1 can't be downloaded \(npm is not installed\)"):
        npm_tarball("tiny", "1", "0" * 64, tmp_path / "downloads")


def test_a_registry_without_encryption_is_not_asked(
    registry: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("npm_config_registry", "http://registry.test")
    with pytest.raises(NotHereError, match=r"npm_config_registry=http://registry.test is not an https address"):
        npm_tarball("tiny", "1", "0" * 64, tmp_path / "new")


@pytest.fixture
def by_npm(monkeypatch: pytest.MonkeyPatch) -> Callable[[Callable[[list[str]], Any]], None]:
    """A machine with an npm that does what a test says."""
    monkeypatch.setattr(shutil, "which", lambda name: name)
    return lambda act: monkeypatch.setattr(subprocess, "run", lambda command, **options: act(command))


def test_npm_packs_without_running_scripts(by_npm: Callable[..., None], tmp_path: Path) -> None:
    digest = archive(tmp_path / "made.tgz", FILES)

    def pack(command: list[str]) -> Any:
        assert command[:3] == ["npm", "pack", "tiny@1.0.0"]
        assert "--ignore-scripts" in command
        shutil.copy(tmp_path / "made.tgz", Path(command[command.index("--pack-destination") + 1], "tiny-1.0.0.tgz"))
        return subprocess.CompletedProcess(command, 0, "", "")

    by_npm(pack)
    assert npm_tarball("tiny", "1.0.0", digest, tmp_path / "new").name == "tiny-1.0.0.tgz"


@pytest.mark.parametrize(
    ("code", "said", "why"), [(1, "npm error 404\nNot Found", "npm error 404 Not Found"), (0, "", "ended with 0")]
)
def test_what_npm_can_not_have_is_not_here(
    by_npm: Callable[..., None], tmp_path: Path, code: int, said: str, why: str
) -> None:
    by_npm(lambda command: subprocess.CompletedProcess(command, code, "", said))
    with pytest.raises(NotHereError, match=rf"npm package 'tiny' 1 can't be downloaded \(.*{why}"):
        npm_tarball("tiny", "1", "0" * 64, tmp_path / "new")


def test_a_silent_npm_is_given_up(by_npm: Callable[..., None], tmp_path: Path) -> None:
    def wait(command: list[str]) -> Any:
        raise subprocess.TimeoutExpired(command, npm.SECONDS)

    by_npm(wait)
    with pytest.raises(NotHereError, match=r"npm took longer than 600 s"):
        npm_tarball("tiny", "1", "0" * 64, tmp_path / "new")


def test_only_wanted_regular_files_are_written(tmp_path: Path) -> None:
    links = (
        link("package/away", "/etc/passwd", tarfile.SYMTYPE),
        link("package/dist", "/tmp", tarfile.SYMTYPE),
        link("package/hard", "../../secret", tarfile.LNKTYPE),
        link("package/device", "", tarfile.CHRTYPE),
    )
    archive(tmp_path / "a.tgz", FILES, links)
    unpack_tarball(tmp_path / "a.tgz", tmp_path / "all")
    assert names(tmp_path / "all") == ["LICENSE", "dist/model.json", "package.json"]
    assert not any(path.is_symlink() for path in (tmp_path / "all").rglob("*"))
    unpack_tarball(tmp_path / "a.tgz", tmp_path / "some", re.compile(r".*\.json"))
    assert names(tmp_path / "some") == ["dist/model.json", "package.json"]


@pytest.mark.parametrize(
    "name", ["package/../../evil", "package//etc/evil", "package/a/../../../evil", "package/..\\evil"]
)
def test_a_member_that_leaves_the_folder_stops_the_unpacking(tmp_path: Path, name: str) -> None:
    archive(tmp_path / "a.tgz", {name: b"x"})
    with pytest.raises(VlmatchError, match=r"archive 'a.tgz': member '.*evil' would be written outside the folder"):
        unpack_tarball(tmp_path / "a.tgz", tmp_path / "deep" / "out")
    assert names(tmp_path) == ["a.tgz"]


def test_an_archive_that_unpacks_to_too_much_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(npm, "LIMITS", Limits(total=1000))
    archive(tmp_path / "bomb.tgz", {"package/a": b"0" * 600, "package/b": b"0" * 600})
    with pytest.raises(VlmatchError, match=r"archive 'bomb.tgz': .* more than 1000 bytes"):
        unpack_tarball(tmp_path / "bomb.tgz", tmp_path / "out")
    assert not (tmp_path / "out" / "b").exists()


@pytest.mark.parametrize("damage", ["no gzip", "no tar", "cut short"])
def test_a_damaged_archive_is_one_line(tmp_path: Path, damage: str) -> None:
    path = tmp_path / "a.tgz"
    archive(path, {"package/a": bytes(range(256)) * 400})
    path.write_bytes(
        {"no gzip": b"text", "no tar": gzip.compress(b"text" * 999), "cut short": path.read_bytes()[:-90]}[damage]
    )
    with pytest.raises(VlmatchError, match=r"archive 'a.tgz' is damaged \(.+\); fetch it again") as caught:
        unpack_tarball(path, tmp_path / "out")
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("when", ["downloading", "unpacking"])
def test_a_full_disk_is_one_line_and_leaves_nothing_half(
    registry: Path, monkeypatch: pytest.MonkeyPatch, when: str
) -> None:
    digest = archive(registry / "tiny" / "-" / "tiny-1.0.0.tgz", FILES)
    original = shutil.copyfileobj

    def full(source: Any, target: Any, *rest: Any) -> None:
        if (Path(target.name).suffix == ".tgz") == (when == "downloading"):
            target.write(b"half")
            raise OSError(errno.ENOSPC, "No space left on device")
        original(source, target, *rest)

    monkeypatch.setattr(shutil, "copyfileobj", full)
    package = Package("tiny", "1.0.0", digest, "npm")
    with pytest.raises(VlmatchError, match=r"package 'tiny' 1.0.0: can't write to .*No space left.*VLMATCH_CACHE"):
        package_folder(package)
    assert not packages.is_here(package)
    assert [path.suffix for path in package.folder.parent.iterdir()] == [".lock"]
