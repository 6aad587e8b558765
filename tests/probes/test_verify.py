"""The checksum of a folder is DVC's own, and a difference is told with both values."""

import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from vlmatch.errors import VlmatchError
from vlmatch.probes.verify import Checksum, dvc_checksum, verify_folder

FILES = {"b.txt": b"2", "a/z": b"1", "a-b": b"\r\n", "a/ä ö.png": b"\x00\xff", "a.b/c/d": b"", "Z": b"1", ".h": b"3"}


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """A folder whose names sort differently as paths and as strings."""
    for name, content in FILES.items():
        path = tmp_path / "data" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
    return tmp_path / "data"


def record(folder: Path) -> Path:
    """Writes the .dvc file by our own checksum."""
    checksum = dvc_checksum(folder)
    out = {"md5": checksum.md5, "size": checksum.size, "nfiles": checksum.nfiles, "hash": "md5", "path": "data"}
    file = folder.with_name("data.dvc")
    file.write_text(yaml.safe_dump({"outs": [out]}))
    return file


def test_the_checksum_is_the_one_that_dvc_add_writes(data: Path) -> None:
    for command in (["init", "--no-scm", "-q"], ["config", "core.analytics", "false"], ["add", "-q", "data"]):
        subprocess.run([sys.executable, "-m", "dvc", *command], cwd=data.parent, check=True, capture_output=True)
    out = yaml.safe_load((data.parent / "data.dvc").read_text())["outs"][0]
    assert dvc_checksum(data) == Checksum(out["md5"], out["size"], out["nfiles"])
    assert verify_folder(data, data.parent / "data.dvc").md5 == out["md5"]


def test_a_changed_byte_is_refused_and_its_restoration_accepted(data: Path) -> None:
    file = record(data)
    expected = verify_folder(data, file)
    (data / "b.txt").write_bytes(b"3")
    got = dvc_checksum(data)
    with pytest.raises(VlmatchError) as caught:
        verify_folder(data, file)
    for words in (expected.md5, got.md5, "7 files", "dvc checkout", "task=fetch", "dvc add data"):
        assert words in str(caught.value)
    (data / "b.txt").write_bytes(b"2")
    assert verify_folder(data, file) == expected


@pytest.mark.parametrize("change", ["added", "removed", "renamed"])
def test_added_removed_and_renamed_files_are_seen(data: Path, change: str) -> None:
    before = dvc_checksum(data)
    if change == "added":
        (data / "new").write_bytes(b"")
    elif change == "removed":
        (data / "Z").unlink()
    else:
        (data / "Z").rename(data / "Y")
    assert dvc_checksum(data).md5 != before.md5


def test_times_and_modes_do_not_count(data: Path) -> None:
    before = dvc_checksum(data)
    (data / "Z").chmod(0o600)
    (data / "Z").touch()
    assert dvc_checksum(data) == before


def test_absent_data_are_told_with_the_way_to_get_them(data: Path) -> None:
    file = record(data)
    data.rename(data.with_name("elsewhere"))
    with pytest.raises(VlmatchError, match=r"data' does not exist; .*task=fetch"):
        verify_folder(data, file)


@pytest.mark.parametrize("content", [None, "", "outs: []", "outs:\n- {path: data}", "]["])
def test_an_unreadable_dvc_file_is_named(data: Path, content: str | None) -> None:
    file = data.with_name("data.dvc")
    if content is not None:
        file.write_text(content)
    with pytest.raises(VlmatchError, match=r"data\.dvc' can't be read"):
        verify_folder(data, file)
