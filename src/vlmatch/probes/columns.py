"""The columns of a table with encoded images in it (Parquet, Hugging Face datasets), named by the user."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from vlmatch.errors import VlmatchError
from vlmatch.probes.captions import first_caption
from vlmatch.probes.images import ImageError, ImageSource
from vlmatch.probes.pairs import ProbeEntry
from vlmatch.probes.problems import EntryError


@dataclass(frozen=True)
class Columns:
    """The names of a table's columns (`id` and `label` may be None), and the probe's name for errors."""

    probe: str
    image: str
    caption: str
    id: str | None
    label: str | None

    @property
    def texts(self) -> list[str]:
        """All columns except the images."""
        return [name for name in (self.caption, self.id, self.label) if name is not None]

    def check(self, present: Iterable[str], where: str) -> None:
        """Raise VlmatchError if columns are missing, naming these and all that the table has."""
        present = list(present)
        missing = [name for name in (self.image, *self.texts) if name not in present]
        if missing:
            raise VlmatchError(
                f"probe '{self.probe}': {where} has no column {' and '.join(map(repr, missing))}; it has "
                f"{', '.join(present)}: name columns by probe.image, probe.caption, probe.id, probe.label"
            )

    def entry(self, image: ImageSource, values: Mapping[str, Any], default_id: str) -> ProbeEntry:
        """The entry of a row; of several captions the first is used."""
        try:
            caption, n_captions = first_caption(values[self.caption], f"column '{self.caption}'")
        except EntryError as problem:
            return ProbeEntry.unusable(
                str(image), EntryError(problem.problem, problem.reason, "name another by probe.caption")
            )
        identifier = values[self.id] if self.id is not None else default_id
        label = values[self.label] if self.label is not None else None
        return ProbeEntry(str(identifier), image, caption, None if label is None else str(label), n_captions=n_captions)


def image_bytes(value: Any, source: object) -> bytes:
    """The encoded image in a cell: bytes, or a struct of 'bytes' or, if these are null, the 'path' of a file.

    Raises ImageError naming `source` if the cell holds neither, OSError if the file can't be read.
    """
    if isinstance(value, Mapping):
        path = value.get("path")
        value = value.get("bytes")
        if value is None and path:
            return Path(path).read_bytes()
    if not isinstance(value, bytes):
        found = "null" if value is None else f"of type {type(value).__name__}"
        raise ImageError(f"image '{source}' is {found}; wanted an encoded image", "not there")
    return value
