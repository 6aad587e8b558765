"""Unpacking a Debian package: the stamps and nothing else, always the same bytes, and never outside the folder."""

import os
import shutil
import subprocess
import tarfile
from collections.abc import Callable
from pathlib import Path

import pytest

from vlmatch.errors import VlmatchError
from vlmatch.packages import deb as deb_module
from vlmatch.packages.archives import Limits
from vlmatch.packages.deb import Archive, unpack_stamps

MakeDeb = Callable[..., Path]
STAMPS = "./usr/share/tuxpaint/stamps/"


def files_below(folder: Path) -> dict[str, bytes]:
    """Names and contents of all files below a folder."""
    return {p.relative_to(folder).as_posix(): p.read_bytes() for p in folder.rglob("*") if p.is_file()}


def unpacked(deb: Path, folder: Path) -> dict[str, bytes]:
    """What a package unpacks to."""
    folder.mkdir()
    unpack_stamps(deb, folder)
    return files_below(folder)


@pytest.mark.parametrize(
    ("package", "version"), [("-oAPT::x=y", "1"), ("../x", "1"), ("a/b", "1"), ("stamps", "1 b"), ("stamps", "")]
)
def test_options_and_paths_in_place_of_a_package_are_refused(package: str, version: str) -> None:
    Archive("tuxpaint-stamps-default", "1:2022.06.04~dfsg1-1", "0" * 64)
    with pytest.raises(VlmatchError, match="of a Debian package"):
        Archive(package, version, "0" * 64)


@pytest.mark.parametrize("compression", ["xz", "zst", "gz"])
def test_captioned_stamps_and_the_copyright_are_kept(tmp_path: Path, make_deb: MakeDeb, compression: str) -> None:
    deb = make_deb(
        {
            "a/frog.png": b"1",
            "a/frog.txt": b"A frog.",
            "a/frog.svg": b"drawn too",
            "a/frog.ogg": b"croak",
            "a/frog_mirror.png": b"no caption",
            "a/kite.svg": b"2",
            "a/kite.txt": b"A kite.",
            "a/alone.txt": b"no image",
            "./usr/share/doc/some-stamps/copyright": b"GPL-2",
            "./usr/share/doc/some-stamps/changelog.txt": b"no",
            "./etc/passwd.txt": b"no",
        },
        compression=compression,
    )
    assert unpacked(deb, tmp_path / "out") == {
        "a/frog.png": b"1",
        "a/frog.txt": b"A frog.",
        "a/kite.svg": b"2",
        "a/kite.txt": b"A kite.",
        "copyright": b"GPL-2",
    }


def test_modes_are_fixed_whatever_the_umask(tmp_path: Path, make_deb: MakeDeb) -> None:
    deb = make_deb({"a/frog.png": b"1", "a/frog.txt": b"A frog."})
    before = os.umask(0o077)
    try:
        unpacked(deb, tmp_path / "out")
    finally:
        os.umask(before)
    assert (tmp_path / "out/a").stat().st_mode & 0o777 == 0o755
    assert (tmp_path / "out/a/frog.png").stat().st_mode & 0o777 == 0o644


@pytest.mark.parametrize("name", ["../../../../../evil.png", "a/../../evil.png", "a\\..\\evil.png"])
def test_a_member_that_leads_out_of_the_folder_is_refused(tmp_path: Path, make_deb: MakeDeb, name: str) -> None:
    with pytest.raises(VlmatchError, match="would be written outside the folder"):
        unpacked(make_deb({name: b"evil", "a/evil.txt": b"x"}), tmp_path / "out")
    assert not list(tmp_path.rglob("evil*"))


def test_links_and_devices_are_passed_over(tmp_path: Path, make_deb: MakeDeb) -> None:
    extra = []
    for kind in (tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.CHRTYPE, tarfile.FIFOTYPE):
        info = tarfile.TarInfo(f"{STAMPS}a/link{kind.decode()}.png")
        info.type, info.linkname = kind, "/etc/passwd"
        extra.append(info)
    deb = make_deb({"a/frog.png": b"1", "a/frog.txt": b"A frog."}, extra=extra)
    assert set(unpacked(deb, tmp_path / "out")) == {"a/frog.png", "a/frog.txt"}


@pytest.mark.parametrize("limits", [Limits(total=1000, each=100), Limits(total=150)])
def test_a_size_limit_holds(tmp_path: Path, make_deb: MakeDeb, monkeypatch: pytest.MonkeyPatch, limits: Limits) -> None:
    monkeypatch.setattr(deb_module, "LIMITS", limits)
    with pytest.raises(VlmatchError, match=r"1[05]0"):
        unpacked(make_deb({"a/frog.txt": b"A frog.", "a/frog.png": b"1" * 99, "a/owl.png": b"2" * 110}), tmp_path / "o")


@pytest.mark.parametrize("content", [b"", b"PK\x03\x04", b"!<arch>\n", b"!<arch>\n" + b"x" * 200])
def test_what_is_no_package_is_refused_in_one_line(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "x.deb").write_bytes(content)
    with pytest.raises(VlmatchError, match=r"x\.deb'") as caught:
        unpacked(tmp_path / "x.deb", tmp_path / "out")
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("compression", ["xz", "zst", "gz"])
def test_a_package_cut_short_is_refused(tmp_path: Path, make_deb: MakeDeb, compression: str) -> None:
    deb = make_deb({"a/frog.png": os.urandom(50_000), "a/frog.txt": b"A frog."}, compression=compression)
    deb.write_bytes(deb.read_bytes()[:30_000])
    with pytest.raises(VlmatchError, match="is damaged"):
        unpacked(deb, tmp_path / "out")


@pytest.mark.skipif(shutil.which("dpkg-deb") is None, reason="dpkg-deb, the reference, is not here")
def test_the_files_are_those_that_dpkg_unpacks(tmp_path: Path, pixel: bytes) -> None:
    source = tmp_path / "source"
    for name, content in {"a/frog.png": pixel, "a/frog.txt": b"A frog.\n"}.items():
        path = source / "usr/share/tuxpaint/stamps" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
    (source / "DEBIAN").mkdir(mode=0o755)
    (source / "DEBIAN/control").write_text(
        "Package: x\nVersion: 1\nArchitecture: all\nMaintainer: x <x@example.org>\nDescription: x\n"
    )
    deb = tmp_path / "x.deb"
    subprocess.run(["dpkg-deb", "--root-owner-group", "-b", source, deb], check=True, capture_output=True)
    subprocess.run(["dpkg-deb", "-x", deb, tmp_path / "dpkg"], check=True)
    assert unpacked(deb, tmp_path / "out") == files_below(tmp_path / "dpkg/usr/share/tuxpaint/stamps")
