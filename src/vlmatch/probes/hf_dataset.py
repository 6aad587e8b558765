"""A Hugging Face dataset on disk, as `Dataset.save_to_disk` writes it: Arrow files, no code."""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path
from typing import Any

from vlmatch.errors import VlmatchError, one_line
from vlmatch.objects import buildable
from vlmatch.probes.columns import Columns, image_bytes
from vlmatch.probes.pairs import ProbeEntry, ProbeSet
from vlmatch.probes.selection import Options, build


@dataclass(frozen=True)
class DatasetCell:
    """An image in a row of a dataset's column."""

    folder: Path
    split: str | None
    column: str
    row: int

    @property
    def name(self) -> str:
        """The row within the dataset."""
        return f"row {self.row}"

    def __str__(self) -> str:
        """The row, and the folder that the dataset is in."""
        return f"{self.name} in {self.folder}" + (f" ({self.split})" if self.split else "")

    def read(self) -> bytes:
        """The encoded image; ImageError if there is none."""
        return image_bytes(_images(self.folder, self.split, self.column)[self.row][self.column], self)


@buildable
def hf_dataset(
    path: str | Path,
    split: str | None = None,
    name: str = "hf_dataset",
    *,
    image: str = "image",
    caption: str = "caption",
    id: str | None = None,
    label: str | None = None,
    **options: Any,
) -> ProbeSet:
    """Read the pairs of a dataset that `Dataset.save_to_disk` or `DatasetDict.save_to_disk` wrote, in its order.

    `split` is needed for the latter. `image`, `caption`, `id` and `label` name columns; an image is of the Image
    feature, or encoded bytes. Without an id column the row's number is the id. Class labels are named where the
    dataset names them. `options` are those of `selection.Options`.

    Raises VlmatchError for a folder that is no dataset, a column that is not there or of another type, or as
    `selection.build` does.
    """
    folder = Path(path).expanduser()
    columns = Columns(name, image, caption, id, label)
    return build(name, _entries(folder, split, columns), Options(**options), source=str(path))


def _entries(folder: Path, split: str | None, columns: Columns) -> Iterator[ProbeEntry]:
    opened = _dataset(columns.probe, folder, split)
    columns.check(opened.column_names, str(folder))
    feature = opened.features.get(columns.label)
    named = hasattr(feature, "int2str")  # a class label
    texts = opened.select_columns(columns.texts)
    for row, values in enumerate(texts):
        entry = columns.entry(DatasetCell(folder, split, columns.image, row), values, str(row))
        if named and entry.label:
            number = int(entry.label)
            entry = replace(entry, label=feature.int2str(number) if number >= 0 else None)  # -1: not labelled
        yield entry


def _dataset(name: str, folder: Path, split: str | None) -> Any:
    from datasets import DatasetDict, load_from_disk

    try:
        opened = load_from_disk(str(folder))
    except Exception as error:  # Arrow, JSON and the file system have their own; none is the program's fault
        raise VlmatchError(
            f"probe '{name}': probe.path={folder} is no dataset that save_to_disk wrote ({one_line(error)})"
        ) from error
    if not isinstance(opened, DatasetDict):
        if split is not None:
            raise VlmatchError(f"probe '{name}': probe.split={split}, but {folder} has no splits; use null")
        return opened
    if split not in opened:
        raise VlmatchError(f"probe '{name}': probe.split={split}; {folder} has {', '.join(opened)}: choose one")
    return opened[split]


@lru_cache(maxsize=4)
def _images(folder: Path, split: str | None, column: str) -> Any:
    """The dataset with its images encoded, as they are stored."""
    from datasets import Image

    opened = _dataset(folder.name, folder, split).select_columns([column])
    return opened.cast_column(column, Image(decode=False)) if isinstance(opened.features[column], Image) else opened
