"""Archives: nothing is written outside the folder, links are passed over, limits hold; damage is one line."""

import stat
import zipfile

import pytest

from vlmatch.errors import VlmatchError
from vlmatch.packages.archives import Limits, unpack_zip, write_files

LIMITS = Limits(total=10_000)


@pytest.mark.parametrize("member", ["/etc/evil", "../evil", "a/../../evil", "..\\evil", "C:\\evil"])
def test_a_member_that_leaves_the_folder_stops_the_unpacking(tmp_path, member):
    with zipfile.ZipFile(tmp_path / "hostile.zip", "w") as archive:
        archive.writestr("good", "")
        archive.writestr(member, "")
    with pytest.raises(VlmatchError, match=r"would be written outside the folder"):
        unpack_zip(tmp_path / "hostile.zip", tmp_path / "out", LIMITS)
    assert [path.name for path in tmp_path.iterdir()] == ["hostile.zip"]


def test_a_symbolic_link_is_passed_over(tmp_path):
    link = zipfile.ZipInfo("link")
    link.external_attr = (stat.S_IFLNK | 0o777) << 16
    with zipfile.ZipFile(tmp_path / "hostile.zip", "w") as archive:
        archive.writestr(link, "/etc/passwd")
        archive.writestr("link/inside", "")
    unpack_zip(tmp_path / "hostile.zip", tmp_path / "out", LIMITS)
    assert (tmp_path / "out" / "link" / "inside").is_file()
    assert not (tmp_path / "out" / "link").is_symlink()


def test_an_archive_that_unpacks_to_too_much_is_refused(tmp_path):
    with zipfile.ZipFile(tmp_path / "bomb.zip", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("zeros", b"0" * 1001)
    with pytest.raises(VlmatchError, match=r"archive 'bomb.zip': .*1000 bytes"):
        unpack_zip(tmp_path / "bomb.zip", tmp_path / "out", Limits(total=1000))
    with pytest.raises(VlmatchError, match=r"archive 'bomb.zip': member 'zeros' has 1001 bytes; at most 1000"):
        unpack_zip(tmp_path / "bomb.zip", tmp_path / "out", Limits(total=2000, each=1000))
    assert not (tmp_path / "out").exists()


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
    with pytest.raises(VlmatchError, match=r"archive 'a.zip' is damaged \(.+\); fetch it again"):
        unpack_zip(path, tmp_path / "out", LIMITS)


def test_a_name_that_is_both_file_and_folder_is_one_line(tmp_path):
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as archive:
        archive.writestr("a", "")
        archive.writestr("a/b", "")
    with pytest.raises(VlmatchError, match=r"archive 'a.zip': 'a/b' is both a file and a folder"):
        unpack_zip(tmp_path / "a.zip", tmp_path / "out", LIMITS)


def test_files_are_written_with_fixed_modes(tmp_path):
    write_files({"a/b": b"1", "c": b"2"}, tmp_path)
    assert (tmp_path / "a/b").read_bytes() == b"1"
    assert [(tmp_path / name).stat().st_mode & 0o777 for name in ("a", "a/b", "c")] == [0o755, 0o644, 0o644]
