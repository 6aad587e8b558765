"""A user's own images: a folder or zip file with a table of captions, a text beside each image, or class folders."""

import math
import os
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

from vlmatch.errors import VlmatchError
from vlmatch.objects import buildable
from vlmatch.probes.captions import caption_of
from vlmatch.probes.classes import CLASS_CAPTION, Classes
from vlmatch.probes.pairs import ProbeEntry, ProbeSet
from vlmatch.probes.places import image_of, is_zip, names_in
from vlmatch.probes.problems import EntryError
from vlmatch.probes.selection import ProbeOptions, build_probe_set
from vlmatch.probes.tables import STEMS, SUFFIXES, TableFile, is_named_as_table, rows
from vlmatch.probes.text import NotUtf8Error, require_unicode

IMAGE_COLUMNS = ("image", "file_name")
CAPTION_COLUMNS = ("caption", "text")


@buildable
def folder(
    path: str | Path,
    name: str = "folder",
    *,
    images: str | Path | None = None,
    image: str | None = None,
    caption: str | None = None,
    id: str = "id",
    label: str = "label",
    encoding: str | None = None,
    images_outside: bool = False,
    class_caption: str = CLASS_CAPTION,
    **options: Any,
) -> ProbeSet:
    """Read the pairs that a table lists, in its order; `options` are those of `selection.ProbeOptions`.

    `path` is the table (.csv, .tsv, .jsonl or .json), or the folder or zip file that holds it as captions.csv, .tsv ...
    or metadata.csv, .tsv ... `image`, `caption`, `id` and `label` name columns; by default, `image` or
    `file_name` holds the image's path, and `caption` or `text` the caption. Paths start from the folder or zip file
    `images`, by default from the table's folder. A path that leads out of it is bad unless `images_outside` is true. In
    JSON the caption may be a list of captions; the first is used. Without an id, the image's path is the id, with #2,
    #3, ... for its further captions. `encoding` names the table's encoding, if it is not Unicode.

    A folder or zip file without a table is read as `classes.Classes` says: a text beside each image, or class folders.

    Raises VlmatchError naming the first bad row, or as `selection.build_probe_set` does.
    """
    chosen = ProbeOptions(**options)
    given = Path(path).expanduser()
    table = _table(name, given, encoding)
    if table is not None:
        inside = PurePosixPath(table.member).parent.as_posix()
        columns = _Columns(
            image=(image,) if image else IMAGE_COLUMNS,
            caption=(caption,) if caption else CAPTION_COLUMNS,
            id=id,
            label=label,
            place=table.place if images is None else Path(images).expanduser(),
            prefix=f"{inside}/" if images is None and inside != "." else "",
            outside=images_outside,
        )
        return build_probe_set(name, _entries(table, columns), chosen, source=table.name)
    classes = Classes(name, given, class_caption)
    return build_probe_set(name, classes, chosen, source=classes.source, skipped=lambda: classes.skipped)


@dataclass(frozen=True)
class _Columns:
    """The possible names of the image and caption columns, and the names of the id and label columns.

    place: the folder or zip file with the images. prefix: what their paths in it start with. outside: whether paths may
    lead out of it.
    """

    image: Sequence[str]
    caption: Sequence[str]
    id: str
    label: str
    place: Path
    prefix: str
    outside: bool


def _table(name: str, path: Path, encoding: str | None) -> TableFile | None:
    """The table; None for a folder or zip file without one, which has only images."""
    if os.path.isfile(path) and not is_zip(path):
        if path.suffix.lower() not in SUFFIXES:
            raise VlmatchError(
                f"probe '{name}': probe.path={path} is neither a folder nor a table ({', '.join(SUFFIXES)}) nor a .zip"
            )
        return TableFile(name, path.parent, path.name, encoding)
    for stem in STEMS:
        present = _present(path, stem)
        if len(present) > 1:
            raise VlmatchError(
                f"probe '{name}': {' and '.join(present)} in probe.path={path}; wanted exactly one table, which lists "
                "the pairs: give its path"
            )
        if present:
            return TableFile(name, path, present[0], encoding)
    if is_zip(path) or os.path.isdir(path):
        return None
    raise VlmatchError(f"probe '{name}': probe.path={path} is not there, or not a file; give a folder, table or .zip")


def _present(path: Path, stem: str) -> list[str]:
    """The tables of this name: at the top of a folder, or at the highest level of a zip file that has any."""
    if not is_zip(path):
        return [f"{stem}{suffix}" for suffix in SUFFIXES if os.path.isfile(path / f"{stem}{suffix}")]
    found = [each for each in names_in(path) if is_named_as_table(each, [stem])]
    depth = min((each.count("/") for each in found), default=0)
    return [each for each in found if each.count("/") == depth]


def _entries(table: TableFile, columns: _Columns) -> Iterator[ProbeEntry]:
    times: Counter[str] = Counter()
    has_header = table.suffix in (".csv", ".tsv")
    for where, row in rows(table):
        try:
            if isinstance(row, EntryError):
                raise row
            if has_header:
                _require_columns(table, row, columns)
            yield _entry(table, where, row, columns, times)
        except EntryError as problem:
            yield ProbeEntry.unusable(where, problem)


def _require_columns(table: TableFile, row: Mapping[str, Any], columns: _Columns) -> None:
    for key, names in (("image", columns.image), ("caption", columns.caption)):
        if not any(name in row for name in names):
            raise VlmatchError(
                f"probe '{table.probe}': {table.name} has no column {_either(names)}; it has {', '.join(row)}: rename "
                f"one, name it by probe.{key}=NAME, or add a line with the columns' names"
            )


def _entry(table: TableFile, where: str, row: Mapping[str, Any], columns: _Columns, times: Counter[str]) -> ProbeEntry:
    """The entry of a row; `times` counts the rows of each image so far."""
    image = _value(table, where, row, columns.image, "image")
    if not isinstance(image, str):
        raise EntryError(f"{_either(columns.image)} is {image!r}; wanted the path of an image", "without an image")
    caption, n_captions = caption_of(_value(table, where, row, columns.caption, "caption"), _either(columns.caption))
    for what, text in (("image", image), ("caption", caption)):
        _require_unicode(table, f"its {what}", text)
    times[image] += 1
    default = image if times[image] == 1 else f"{image}#{times[image]}"
    identifier, label = _string(row.get(columns.id)), _string(row.get(columns.label))
    source = image_of(columns.place, columns.prefix + image, "probe.images", outside=columns.outside)
    return ProbeEntry(identifier or default, source, caption, label or None, where, n_captions)


def _require_unicode(table: TableFile, what: str, text: str) -> None:
    """Raise EntryError, naming `what`, if a text of the table is broken; wrong bytes may need another encoding."""
    try:
        require_unicode(what, text)
    except NotUtf8Error as problem:
        advice = f"save {table.name} as UTF-8, or name its encoding by probe.encoding=cp1252 or the like"
        raise EntryError(problem.problem, problem.reason, advice) from problem


def _value(table: TableFile, where: str, row: Mapping[str, Any], names: Sequence[str], key: str) -> Any:
    """The value of the column that is filled in, with text stripped; None if none is.

    Raises VlmatchError if several columns are filled in with different values, because the user has to choose one.
    """
    stripped = {name: value.strip() if isinstance(value, str) else value for name in names if (value := row.get(name))}
    filled = {name: value for name, value in stripped.items() if value and not _is_nan(value)}
    if len({repr(value) for value in filled.values()}) > 1:
        raise VlmatchError(
            f"probe '{table.probe}': {where} has both {' and '.join(map(repr, filled))}; choose one by "
            f"probe.{key}={next(iter(filled))}"
        )
    return next(iter(filled.values()), None)


def _string(value: Any) -> str:
    return "" if value is None or _is_nan(value) else str(value).strip()


def _is_nan(value: Any) -> bool:
    return isinstance(value, float) and math.isnan(value)


def _either(columns: Sequence[str]) -> str:
    return " or ".join(f"'{column}'" for column in columns)
