"""Small Debian packages, written in Python."""

import io
import tarfile
from pathlib import Path

import zstandard

STAMPS = "./usr/share/tuxpaint/stamps/"


def write_deb(
    folder: Path,
    files: dict[str, bytes],
    *,
    compression: str = "xz",
    extra: list[tarfile.TarInfo] | None = None,
    name: str = "x",
) -> Path:
    """Write a package from names below the stamps folder, or absolute ones ('./...'), to contents."""
    members = [(tarfile.TarInfo(path if path.startswith("./") else STAMPS + path), c) for path, c in files.items()]
    members += [(info, b"") for info in extra or []]
    deb = folder / f"{name}.deb"
    parts = {
        "debian-binary": b"2.0\n",
        "control.tar.xz": b"abc",
        f"data.tar.{compression}": tar(members, compression),
    }
    deb.write_bytes(ar(parts))
    return deb


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
