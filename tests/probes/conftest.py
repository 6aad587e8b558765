"""The real stamps, and a maker of small Debian packages."""

import io
import tarfile
from collections.abc import Callable
from pathlib import Path

import pytest
import yaml
import zstandard
from PIL import Image

from vlmatch import paths
from vlmatch.packages.deb import Archive
from vlmatch.probes.fetch import fetch_stamps

STAMPS = "./usr/share/tuxpaint/stamps/"


@pytest.fixture
def pixel() -> bytes:
    """The smallest PNG: one grey pixel."""
    buffer = io.BytesIO()
    Image.new("L", (1, 1), 99).save(buffer, "PNG")
    return buffer.getvalue()


@pytest.fixture(scope="session")
def archive() -> Archive:
    """The archive that conf/probe/stamps.yaml names."""
    config = yaml.safe_load((paths.conf() / "probe" / "stamps.yaml").read_text())["archive"]
    assert config.pop("_target_") == "vlmatch.packages.deb.Archive"
    return Archive(**config)


@pytest.fixture(scope="session")
def stamps_folder(archive: Archive) -> Path:
    """The real stamps where every run finds them, fetched if they are not there yet."""
    folder = paths.root() / "data" / "stamps"
    fetch_stamps(folder, archive)
    return folder


def ar(members: dict[str, bytes]) -> bytes:
    """An ar archive, as `ar q` would write it."""
    parts = [b"!<arch>\n"]
    for name, content in members.items():
        parts.append(f"{name:<16}{0:<12}{0:<6}{0:<6}{100644:<8}{len(content):<10}`\n".encode())
        parts.append(content + b"\n" * (len(content) % 2))
    return b"".join(parts)


def tar(members: list[tuple[tarfile.TarInfo, bytes]], compression: str) -> bytes:
    """A tar archive, compressed as a .deb's data may be."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w:" if compression == "zst" else f"w:{compression}") as opened:
        for info, content in members:
            info.size = len(content)
            opened.addfile(info, io.BytesIO(content))
    raw = buffer.getvalue()
    return zstandard.ZstdCompressor().compress(raw) if compression == "zst" else raw


@pytest.fixture
def make_deb(tmp_path: Path) -> Callable[..., Path]:
    """Writes a package from names below the stamps folder (or absolute ones) to contents."""

    def make(
        files: dict[str, bytes], *, compression: str = "xz", extra: list[tarfile.TarInfo] | None = None, name: str = "x"
    ) -> Path:
        members = [(tarfile.TarInfo(path if path.startswith("./") else STAMPS + path), c) for path, c in files.items()]
        members += [(info, b"") for info in extra or []]
        deb = tmp_path / f"{name}.deb"
        parts = {
            "debian-binary": b"2.0\n",
            "control.tar.xz": b"abc",
            f"data.tar.{compression}": tar(members, compression),
        }
        deb.write_bytes(ar(parts))
        return deb

    return make
