"""A Hugging Face dataset: one that `save_to_disk` wrote, one in the hub's layout, or one on the hub by its name."""

import os
import re
import threading
from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path
from typing import Any

from vlmatch.errors import VlmatchError, one_line
from vlmatch.objects import buildable
from vlmatch.packages.hub import Wanted, fetch_again, hub_dataset
from vlmatch.probes.columns import Columns, arrow_rows, image_bytes
from vlmatch.probes.pairs import ProbeEntry, ProbeSet
from vlmatch.probes.selection import ProbeOptions, build_probe_set

_SAVED = ("state.json", "dataset_dict.json")  # a folder that save_to_disk wrote has one of them
_HUB_ID = re.compile(r"[\w-][\w.-]*(/[\w-][\w.-]*)?", re.ASCII)
_ROWS = 1000  # texts read at a time

_opening = threading.Lock()  # several threads would open the same dataset at once


@dataclass(frozen=True)
class DatasetCell:
    """An image in a row of a dataset's column."""

    folder: Path
    config: str | None
    split: str | None
    column: str
    row: int
    outside: bool = False

    @property
    def name(self) -> str:
        """The row within the dataset."""
        return f"row {self.row}"

    def __str__(self) -> str:
        """The row, and the dataset's folder."""
        return f"{self.name} in {self.folder}" + (f" ({self.split})" if self.split else "")

    def read(self) -> bytes:
        """The encoded image. Raises ImageError if the cell has none."""
        with _opening:
            images = _images(self.folder, self.config, self.split, self.column)
        return image_bytes(images[self.row][self.column], self, self.folder, outside=self.outside)


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
    images_outside: bool = False,
    **options: Any,
) -> ProbeSet:
    """Read the pairs of a dataset, in its order.

    `path` is a folder that `save_to_disk` wrote, a folder in the hub's layout (data/train-00000-of-00001.parquet ...),
    or a name on the hub (owner/name), whose whole repository is downloaded once into the hub's cache; `revision` is a
    branch, tag or commit of it. `config` chooses one of several configurations. A dataset with several splits needs a
    `split`. No code of a dataset is run.

    `image`, `caption`, `id` and `label` name columns; the image column has the Image feature, or encoded bytes. Files
    that it names may lie outside of the folder only if `images_outside` is true. If the caption column holds lists, the
    first caption of each is used. Without an id column, the row's number is the id. Class labels get the names that the
    dataset gives them. `options` are those of `selection.ProbeOptions`.

    Raises NotHereError for a dataset that is not available, VlmatchError for a folder without a dataset, a missing
    column, a caption that is not text, or as `selection.build_probe_set` does.
    """
    chosen = ProbeOptions(**options)
    folder = Path(path).expanduser()
    source = str(path)
    if not os.path.isdir(folder):
        folder = _downloaded(name, source, revision)
        source = f"{path}, revision {folder.name[:12]}"
    columns = Columns(name, image, caption, id, label, images_outside)
    return build_probe_set(name, _entries(folder, config, split, columns), chosen, source=source)


def _downloaded(name: str, repository: str, revision: str | None) -> Path:
    """The folder of a dataset on the hub."""
    if _HUB_ID.fullmatch(repository) is None:
        raise VlmatchError(
            f"probe '{name}': probe.path={repository} is neither a folder nor a name on the hub, such as owner/name"
        )
    return hub_dataset(Wanted("probe", name, repository, repository, "/path/to/folder"), revision)


def _entries(folder: Path, config: str | None, split: str | None, columns: Columns) -> Iterator[ProbeEntry]:
    with _opening:
        _images.cache_clear()  # its files may have changed since another probe was read
        opened = _opened(columns.probe, folder, config, split)
    columns.check(opened.column_names, str(folder))
    feature = opened.features.get(columns.label)
    named = hasattr(feature, "int2str")  # a class label
    row = 0
    for texts in opened.select_columns(columns.texts).with_format("arrow").iter(_ROWS):
        for values in arrow_rows(texts):
            entry = columns.entry(
                DatasetCell(folder, config, split, columns.image, row, columns.outside), values, str(row)
            )
            if named and entry.label:
                number = int(entry.label)
                entry = replace(entry, label=feature.int2str(number) if number >= 0 else None)  # -1 means no label
            yield entry
            row += 1


def _opened(name: str, folder: Path, config: str | None, split: str | None) -> Any:
    """The dataset, or its split."""
    opened = _found(name, folder, config, split)
    if not isinstance(opened, dict):  # a DatasetDict is one
        if _is_saved(folder) and split not in (None, opened.split):
            raise VlmatchError(
                f"probe '{name}': probe.split={split}, but {folder} has no splits; give probe.split=null"
            )
        return opened
    if split is None and len(opened) == 1:
        return next(iter(opened.values()))
    if split not in opened:
        given = "null" if split is None else split
        raise VlmatchError(f"probe '{name}': probe.split={given}; {folder} has {', '.join(opened)}: choose one")
    return opened[split]


def _is_saved(folder: Path) -> bool:
    """Whether `save_to_disk` wrote it."""
    return any((folder / each).is_file() for each in _SAVED)


def _found(name: str, folder: Path, config: str | None, split: str | None) -> Any:
    """The dataset, or all its splits, as the library `datasets` reads them."""
    from datasets import load_dataset, load_from_disk

    try:
        return load_from_disk(str(folder)) if _is_saved(folder) else load_dataset(str(folder), config, split=split)
    except Exception as error:  # Arrow, JSON and the file system raise their own kinds
        raise VlmatchError(
            f"probe '{name}': probe.path={folder} is not a dataset that can be read ({one_line(error)[:300]}); give a "
            f"folder that save_to_disk wrote, or one in the hub's layout, or {fetch_again(folder)}"
        ) from error


@lru_cache(maxsize=4)
def _images(folder: Path, config: str | None, split: str | None, column: str) -> Any:
    """The dataset with its images encoded, as they are stored."""
    from datasets import Image

    opened = _opened(folder.name, folder, config, split).select_columns([column])
    return opened.cast_column(column, Image(decode=False)) if isinstance(opened.features[column], Image) else opened
