"""A Hugging Face dataset: one that `save_to_disk` wrote, one in the hub's layout, or one on the hub by its name."""

import os
import re
from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path
from typing import Any

from vlmatch.errors import NotHereError, VlmatchError, one_line
from vlmatch.network import is_forbidden
from vlmatch.objects import buildable
from vlmatch.probes.columns import Columns, arrow_rows, image_bytes
from vlmatch.probes.pairs import ProbeEntry, ProbeSet
from vlmatch.probes.selection import ProbeOptions, build_probe_set

_SAVED = ("state.json", "dataset_dict.json")  # one of them is in a folder that save_to_disk wrote
_HUB_ID = re.compile(r"[\w-][\w.-]*(/[\w-][\w.-]*)?", re.ASCII)
_ROWS = 1000  # texts read at a time


@dataclass(frozen=True)
class Dataset:
    """Where a dataset is: its folder, or its name on the hub; and which of its configurations, splits and revisions."""

    place: Path | str
    split: str | None = None
    config: str | None = None
    revision: str | None = None

    @property
    def folder(self) -> Path:
        """The folder that relative paths of images start from."""
        return self.place if isinstance(self.place, Path) else Path()

    def __str__(self) -> str:
        """The place, and the split."""
        return f"{self.place}" + (f" ({self.split})" if self.split else "")


@dataclass(frozen=True)
class DatasetCell:
    """An image in a row of a dataset's column. folder: the dataset's, where its files are; None for the hub."""

    dataset: Dataset
    column: str
    row: int
    folder: Path | None = None

    @property
    def name(self) -> str:
        """The row within the dataset."""
        return f"row {self.row}"

    def __str__(self) -> str:
        """The row, and the dataset."""
        return f"{self.name} in {self.dataset}"

    def read(self) -> bytes:
        """The encoded image. Raises ImageError if the cell has none."""
        return image_bytes(_images(self.dataset, self.column)[self.row][self.column], self, self.dataset.folder)


@buildable
def hf_dataset(
    path: str | Path,
    split: str | None = None,
    name: str = "hf_dataset",
    *,
    config: str | None = None,
    revision: str | None = None,
    image: str = "image",
    caption: str = "caption",
    id: str | None = None,
    label: str | None = None,
    **options: Any,
) -> ProbeSet:
    """Read the pairs of a dataset, in its order.

    `path` is a folder that `save_to_disk` wrote, a folder in the hub's layout (data/train-00000-of-00001.parquet ...),
    or a name on the hub (owner/name), which `datasets` downloads once and keeps in its cache; `config` and `revision`
    choose among what the hub has. A dataset with splits needs a `split`. No code of a dataset is run.

    `image`, `caption`, `id` and `label` name columns; the image column has the Image feature, or encoded bytes. If the
    caption column holds lists, the first caption of each is used. Without an id column, the row's number is the id.
    Class labels get the names that the dataset gives them. `options` are those of `selection.ProbeOptions`.

    Raises NotHereError for a dataset that can't be had, VlmatchError for a folder without a dataset, a missing column,
    a caption that is not text, or as `selection.build_probe_set` does.
    """
    chosen = ProbeOptions(**options)
    dataset = Dataset(_place(name, path), split, config, revision)
    columns = Columns(name, image, caption, id, label)
    return build_probe_set(name, _entries(dataset, columns), chosen, source=str(path))


def _place(name: str, path: str | Path) -> Path | str:
    """The folder, or the name on the hub."""
    folder = Path(path).expanduser()
    if os.path.isdir(folder):
        return folder
    if isinstance(path, Path) or _HUB_ID.fullmatch(path) is None:
        raise VlmatchError(
            f"probe '{name}': probe.path={path} is neither a folder nor a name on the hub, such as owner/name"
        )
    return path


def _entries(dataset: Dataset, columns: Columns) -> Iterator[ProbeEntry]:
    opened = _opened(columns.probe, dataset)
    columns.check(opened.column_names, str(dataset.place))
    feature = opened.features.get(columns.label)
    named = hasattr(feature, "int2str")  # a class label
    folder = dataset.place if isinstance(dataset.place, Path) else None
    row = 0
    for texts in opened.select_columns(columns.texts).with_format("arrow").iter(_ROWS):
        for values in arrow_rows(texts):
            entry = columns.entry(DatasetCell(dataset, columns.image, row, folder), values, str(row))
            if named and entry.label:
                number = int(entry.label)
                entry = replace(entry, label=feature.int2str(number) if number >= 0 else None)  # -1 means no label
            yield entry
            row += 1


def _opened(name: str, dataset: Dataset) -> Any:
    """The dataset, or its split."""
    opened = _found(name, dataset)
    if not isinstance(opened, dict):  # as a DatasetDict is
        if _is_saved(dataset.place) and dataset.split not in (None, opened.split):
            raise VlmatchError(
                f"probe '{name}': probe.split={dataset.split}, but {dataset.place} has no splits; give probe.split=null"
            )
        return opened
    if dataset.split not in opened:
        raise VlmatchError(
            f"probe '{name}': probe.split={dataset.split}; {dataset.place} has {', '.join(opened)}: choose one"
        )
    return opened[dataset.split]


def _is_saved(place: Path | str) -> bool:
    """Whether `save_to_disk` wrote it."""
    return isinstance(place, Path) and any((place / each).is_file() for each in _SAVED)


def _found(name: str, dataset: Dataset) -> Any:
    """All that is there, read by `datasets`."""
    from datasets import load_dataset, load_from_disk

    place = dataset.place
    try:
        if _is_saved(place):
            return load_from_disk(str(place))
        return load_dataset(str(place), dataset.config, split=dataset.split, revision=dataset.revision)
    except Exception as error:  # Arrow, JSON, the file system, the hub and its network library raise their own kinds
        why = one_line(error)[:300]
        if isinstance(place, Path):
            raise VlmatchError(
                f"probe '{name}': probe.path={place} is not a dataset that can be read ({why}); give a folder that "
                "save_to_disk wrote, or one in the hub's layout"
            ) from error
        forbidden = ", and offline=true forbids downloading it" if is_forbidden() else ""
        raise NotHereError(
            f"probe '{name}': dataset '{place}' is no folder here, and the hub does not give it ({why}){forbidden}; "
            "download it elsewhere and give its folder: probe.path=/path/to/folder"
        ) from error


@lru_cache(maxsize=4)
def _images(dataset: Dataset, column: str) -> Any:
    """The dataset with its images encoded, as they are stored."""
    from datasets import Image

    opened = _opened(str(dataset.place), dataset).select_columns([column])
    return opened.cast_column(column, Image(decode=False)) if isinstance(opened.features[column], Image) else opened
