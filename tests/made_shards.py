"""Small tar shards, as WebDataset has them."""

import io
import tarfile
from pathlib import Path

from PIL import Image


def encoded(colour: int, kind: str = "PNG") -> bytes:
    """A small image of one grey."""
    buffer = io.BytesIO()
    Image.new("RGB", (6, 5), (colour, colour, colour)).save(buffer, kind)
    return buffer.getvalue()


def write(shard: Path, members: dict[str, bytes], extra: list[tarfile.TarInfo] | None = None) -> Path:
    """A shard with these members, and others without content."""
    with tarfile.open(shard, "w") as tar:
        for name, content in members.items():
            info = tarfile.TarInfo(name)
            info.size = len(content)
            tar.addfile(info, io.BytesIO(content))
        for info in extra or []:
            tar.addfile(info)
    return shard
