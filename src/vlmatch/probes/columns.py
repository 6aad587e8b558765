"""The columns of a table that holds encoded images (Parquet, Hugging Face datasets); the user names them."""

import os
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from vlmatch.errors import VlmatchError
from vlmatch.files import require_regular
from vlmatch.probes.captions import caption_of
from vlmatch.probes.images import ImageError, ImageSource
from vlmatch.probes.pairs import ProbeEntry
from vlmatch.probes.places import OUTSIDE
from vlmatch.probes.problems import EntryError
from vlmatch.probes.text import BROKEN


@dataclass(frozen=True)
class Columns:
    """The names of a table's columns (`id` and `label` may be None), and the probe's name for errors.

    outside: whether an image that is named by its path may lie outside of the table's folder.
    """

    probe: str
    image: str
    caption: str
    id: str | None
    label: str | None
    outside: bool = False

    @property
    def texts(self) -> list[str]:
        """All columns except the images."""
        return [name for name in (self.caption, self.id, self.label) if name is not None]

    def check(self, present: Iterable[str], where: str) -> None:
        """Raise VlmatchError if a column is missing or appears twice; the message lists all columns of the table."""
        present = list(present)
        for name in (self.image, *self.texts):
            if present.count(name) > 1:
                raise VlmatchError(f"probe '{self.probe}': {where} has two columns {name!r}; rename or remove one")
        missing = [name for name in (self.image, *self.texts) if name not in present]
        if missing:
            raise VlmatchError(
                f"probe '{self.probe}': {where} has no column {' and '.join(map(repr, missing))}; it has "
                f"{', '.join(present)}: name columns by probe.image, probe.caption, probe.id, probe.label"
            )

    def entry(self, image: ImageSource, values: Mapping[str, Any] | EntryError, default_id: str) -> ProbeEntry:
        """The entry of a row; of several captions the first is used. Without an id, `default_id` is the id."""
        if isinstance(values, EntryError):
            return ProbeEntry.unusable(str(image), values)
        try:
            caption, n_captions = caption_of(values[self.caption], f"column '{self.caption}'")
        except EntryError as problem:
            return ProbeEntry.unusable(
                str(image), EntryError(problem.problem, problem.reason, "name another by probe.caption")
            )
        identifier = _plain(values[self.id]) if self.id is not None else None
        label = _plain(values[self.label]) if self.label is not None else None
        return ProbeEntry(default_id if identifier is None else identifier, image, caption, label, "", n_captions)


def arrow_rows(table: Any) -> Iterator[Mapping[str, Any] | EntryError]:
    """The rows of an Arrow table; a row whose text is not UTF-8 becomes an EntryError, and the others stay usable."""
    try:
        yield from table.to_pylist()
    except UnicodeDecodeError:
        for place in range(table.num_rows):
            try:
                (row,) = table.slice(place, 1).to_pylist()
            except UnicodeDecodeError as error:
                yield EntryError(f"one of its texts is not UTF-8 ({error})", BROKEN)
            else:
                yield row


def _file_bytes(path: str, source: object, folder: Path, outside: bool) -> bytes:
    inside = (os.path.normpath(folder), os.path.realpath(folder))  # `datasets` names files by the latter
    if not outside and not any(Path(path).is_relative_to(each) for each in inside):
        raise ImageError(
            f"image '{source}' is the file '{path}', outside of {folder}, which only probe.{OUTSIDE}=true allows",
            "outside of the images' folder",
            "give that if you trust the data",
        )
    require_regular(Path(path))
    return Path(path).read_bytes()


def _plain(value: Any) -> str | None:
    """An id or label as text; None if it is null or NaN."""
    return None if value is None or value != value else str(value)  # noqa: PLR0124 - only NaN differs from itself


def image_bytes(value: Any, source: object, folder: Path, *, outside: bool = False) -> bytes:
    """The encoded image in a cell: bytes, or a struct of 'bytes' or, if these are null, the 'path' of a file.

    A relative path starts from `folder`. outside: whether a path may lead out of `folder`; a table may come from a
    stranger. Raises ImageError naming `source` if the cell holds neither bytes nor a path, or a path that is not
    allowed; OSError if the file can't be read.
    """
    if isinstance(value, Mapping):
        path = value.get("path")
        value = value.get("bytes")
        if value is None and path:
            return _file_bytes(os.path.normpath(folder.absolute() / path), source, folder.absolute(), outside)
    if not isinstance(value, bytes):
        found = "null" if value is None else f"of type {type(value).__name__}"
        raise ImageError(f"image '{source}' is {found}; wanted an encoded image", "not there")
    return value
