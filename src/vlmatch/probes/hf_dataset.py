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
from vlmatch.probes.selection import ProbeOptions, build_probe_set


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
        """The row, and the dataset's folder."""
        return f"{self.name} in {self.folder}" + (f" ({self.split})" if self.split else "")

    def read(self) -> bytes:
        """The encoded image. Raises ImageError if the cell has none."""
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

    A `DatasetDict` needs a `split`. `image`, `caption`, `id` and `label` name columns; the image column has the Image
    feature, or encoded bytes. If the caption column holds lists, the first caption of each is used. Without an id
    column, the row's number is the id. Class labels get the names that the dataset gives them.
    `options` are those of `selection.ProbeOptions`.

    Raises VlmatchError for a folder without a dataset, a missing column, a caption that is not text, or as
    `selection.build_probe_set` does.
    """
    folder = Path(path).expanduser()
    columns = Columns(name, image, caption, id, label)
    return build_probe_set(name, _entries(folder, split, columns), ProbeOptions(**options), source=str(path))


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
            entry = replace(entry, label=feature.int2str(number) if number >= 0 else None)  # -1 means no label
        yield entry


def _dataset(name: str, folder: Path, split: str | None) -> Any:
    from datasets import DatasetDict, load_from_disk

    try:
        opened = load_from_disk(str(folder))
    except Exception as error:  # Arrow, JSON and the file system raise their own kinds
        raise VlmatchError(
            f"probe '{name}': probe.path={folder} is not a dataset written by save_to_disk ({one_line(error)})"
        ) from error
    if not isinstance(opened, DatasetDict):
        if split is not None:
            raise VlmatchError(
                f"probe '{name}': probe.split={split}, but {folder} has no splits; give probe.split=null"
            )
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
