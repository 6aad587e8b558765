"""Parquet files with encoded images in a column, as on Hugging Face's hub, read one row group at a time."""

import glob
import os
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

from vlmatch.errors import VlmatchError, one_line
from vlmatch.files import Stamp, stamp_of
from vlmatch.objects import buildable
from vlmatch.packages.hub import fetch_again
from vlmatch.probes.columns import Columns, arrow_rows, image_bytes
from vlmatch.probes.images import ImageError
from vlmatch.probes.pairs import ProbeEntry, ProbeSet
from vlmatch.probes.places import distinct_names
from vlmatch.probes.selection import ProbeOptions, build_probe_set

_reading = threading.Lock()  # without it, several threads would decompress the same row group at once


@dataclass(frozen=True)
class ParquetCell:
    """An image in row `row` of a row group's column: bytes, or a struct with a field 'bytes'."""

    file: Path
    column: str
    row_group: int
    row: int
    outside: bool = False

    @property
    def name(self) -> str:
        """The row within the file."""
        return f"row {self.row} of row group {self.row_group}"

    def __str__(self) -> str:
        """The row and its file."""
        return f"{self.name} in {self.file}"

    def read(self) -> bytes:
        """The encoded image. Raises ImageError if the cell has none."""
        import pyarrow

        try:
            with _reading:
                values = _row_group(self.file, stamp_of(self.file), self.row_group, self.column)
        except (pyarrow.ArrowException, OSError) as error:
            problem = f"image '{self}' can't be read ({one_line(error)})"
            raise ImageError(problem, "can't be read", "fetch or write the file again") from error
        return image_bytes(values[self.row].as_py(), self, self.file.parent, outside=self.outside)


@buildable
def parquet(
    path: str,
    name: str = "parquet",
    *,
    image: str = "image",
    caption: str = "caption",
    id: str | None = None,
    label: str | None = None,
    images_outside: bool = False,
    **options: Any,
) -> ProbeSet:
    """Read the pairs of the Parquet files that `path` names, file by file and row by row.

    `path` is a file, a folder with *.parquet in it, or a glob. `image`, `caption`, `id` and `label` name columns. An
    image is encoded bytes (JPEG, PNG ...), or a struct with a field 'bytes' or 'path'. The file that 'path' names may
    lie outside of the Parquet file's folder only if `images_outside` is true. If the caption column holds lists, the
    first caption of each is used. Without an id column, the id is FILE/ROW; FILE includes folders only if two files
    would have the same name. `options` are those of `selection.ProbeOptions`.

    Raises VlmatchError for a missing column, a caption that is not text, a broken file, or as
    `selection.build_probe_set` does.
    """
    files = _files(name, path)
    columns = Columns(name, image, caption, id, label, images_outside)
    return build_probe_set(name, _entries(files, columns), ProbeOptions(**options), source=str(path))


def _files(name: str, path: str) -> list[Path]:
    given = Path(path).expanduser()
    if os.path.isfile(given):
        return [given]
    files = sorted(given.glob("*.parquet") if os.path.isdir(given) else map(Path, glob.glob(str(given))))
    if not files or not all(map(os.path.isfile, files)):
        raise VlmatchError(f"probe '{name}': no Parquet file in probe.path={path}; give one, its folder, or a pattern")
    return files


def _entries(files: list[Path], columns: Columns) -> Iterator[ProbeEntry]:
    import pyarrow

    names = distinct_names(files)
    for file in files:
        try:
            opened = _opened(file, stamp_of(file))
            columns.check(opened.schema_arrow.names, str(file))
            first = 0
            for row_group in range(opened.num_row_groups):
                texts = opened.read_row_group(row_group, columns=columns.texts, use_threads=False)
                for row, values in enumerate(arrow_rows(texts)):
                    cell = ParquetCell(file, columns.image, row_group, row, columns.outside)
                    yield columns.entry(cell, values, f"{names[file]}/{first + row}")
                first += texts.num_rows
        except (pyarrow.ArrowException, OSError) as error:
            raise VlmatchError(
                f"probe '{columns.probe}': {file} can't be read as Parquet ({one_line(error)}); {fetch_again(file)}"
            ) from error


@lru_cache(maxsize=16)
def _opened(file: Path, stamp: Stamp | None) -> Any:
    """The file, opened again if it has changed."""
    from pyarrow.parquet import ParquetFile

    return ParquetFile(file, memory_map=True)


@lru_cache(maxsize=4)
def _row_group(file: Path, stamp: Stamp | None, row_group: int, column: str) -> Any:
    """One column of a row group."""
    return _opened(file, stamp).read_row_group(row_group, columns=[column], use_threads=False).column(0)
