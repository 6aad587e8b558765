"""The columns of a table with encoded images in it (Parquet, Hugging Face datasets), named by the user."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from vlmatch.errors import VlmatchError
from vlmatch.probes.images import ImageError, ImageSource
from vlmatch.probes.pairs import ProbeEntry


@dataclass(frozen=True)
class Columns:
    """The names of the columns, and the probe's, for errors; without an id or a label there is no such column."""

    probe: str
    image: str
    caption: str
    id: str | None
    label: str | None

    @property
    def texts(self) -> list[str]:
        """All columns but the images'."""
        return [name for name in (self.caption, self.id, self.label) if name is not None]

    def check(self, there: Iterable[str], where: str) -> None:
        """VlmatchError naming the columns that are not there, and those that are."""
        there = list(there)
        missing = [name for name in (self.image, *self.texts) if name not in there]
        if missing:
            raise VlmatchError(
                f"probe '{self.probe}': {where} has no column {' and '.join(map(repr, missing))} but "
                f"{', '.join(there)}; name them by probe.image, probe.caption, probe.id, probe.label"
            )

    def entry(self, image: ImageSource, values: Mapping[str, Any], default_id: str) -> ProbeEntry:
        """The entry of a row; of several captions the first counts."""
        caption = values[self.caption]
        if isinstance(caption, list):
            caption = caption[0] if caption else None
        if not isinstance(caption, str | None):
            raise VlmatchError(
                f"probe '{self.probe}': {image}: column '{self.caption}' is no text but {type(caption).__name__}; "
                "name another by probe.caption"
            )
        named = values[self.id] if self.id is not None else default_id
        label = values[self.label] if self.label is not None else None
        return ProbeEntry(str(named), image, (caption or "").strip(), None if label is None else str(label))


def image_bytes(value: Any, source: object) -> bytes:
    """The encoded image in a cell: bytes, or a struct of 'bytes' and, where these are null, the 'path' of a file.

    Raises ImageError naming `source` if there is neither, OSError if the file can't be read.
    """
    if isinstance(value, Mapping):
        path = value.get("path")
        value = value.get("bytes")
        if value is None and path:
            return Path(path).read_bytes()
    if not isinstance(value, bytes):
        raise ImageError(f"image '{source}' is no encoded image but {type(value).__name__}", "not there")
    return value
