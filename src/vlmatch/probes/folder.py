"""A user's own images: a folder with captions.csv, captions.tsv or captions.jsonl, or such a table itself."""

from collections import Counter
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from vlmatch.errors import VlmatchError
from vlmatch.objects import buildable
from vlmatch.probes.captions import first_caption
from vlmatch.probes.pairs import ProbeEntry, ProbeSet
from vlmatch.probes.problems import EntryError
from vlmatch.probes.selection import ProbeOptions, build_probe_set
from vlmatch.probes.tables import SUFFIXES, rows

IMAGE_COLUMNS = ("image", "file_name")
CAPTION_COLUMNS = ("caption", "text")


@buildable
def folder(path: str | Path, name: str = "folder", **options: Any) -> ProbeSet:
    """Read the pairs that a table lists, in its order; `options` are those of `selection.ProbeOptions`.

    `path` is the table (.csv, .tsv or .jsonl), or the folder that holds it as captions.csv, .tsv or .jsonl.
    Columns: `image` (or `file_name`), a path that starts from the table's folder; `caption` (or `text`), in JSONL also
    a list of captions, of which the first is used; optional `id` and `label`. Without an id, the image's path is the
    id, with #2, #3, ... for its further captions.

    Raises VlmatchError naming the first bad row, or as `selection.build_probe_set` does.
    """
    table = _table(name, Path(path).expanduser())
    return build_probe_set(name, _entries(name, table), ProbeOptions(**options), source=table.name)


def _table(name: str, path: Path) -> Path:
    if path.is_file():
        if path.suffix not in SUFFIXES:
            raise VlmatchError(
                f"probe '{name}': probe.path={path} is neither a folder nor a table ({', '.join(SUFFIXES)})"
            )
        return path
    tables = [path / f"captions{suffix}" for suffix in SUFFIXES]
    present = [table for table in tables if table.is_file()]
    if len(present) != 1:
        found = " and ".join(table.name for table in present) or "no captions.csv, captions.tsv or captions.jsonl"
        raise VlmatchError(
            f"probe '{name}': {found} in probe.path={path}; wanted exactly one table, which lists the pairs"
        )
    return present[0]


def _entries(name: str, table: Path) -> Iterator[ProbeEntry]:
    times: Counter[str] = Counter()
    for where, row in rows(name, table):
        try:
            if isinstance(row, EntryError):
                raise row
            if table.suffix != ".jsonl":
                _require_columns(name, table, row)
            yield _entry(table, where, row, times)
        except EntryError as problem:
            yield ProbeEntry.unusable(where, problem)


def _require_columns(name: str, table: Path, row: Mapping[str, Any]) -> None:
    for columns in (IMAGE_COLUMNS, CAPTION_COLUMNS):
        if not any(column in row for column in columns):
            raise VlmatchError(
                f"probe '{name}': {table.name} has no column {_either(columns)}; it has {', '.join(row)}: rename one"
            )


def _entry(table: Path, where: str, row: Mapping[str, Any], times: Counter[str]) -> ProbeEntry:
    """The entry of a row; `times` counts the rows of each image so far."""
    image = _value(row, IMAGE_COLUMNS)
    if not isinstance(image, str) or not image:
        raise EntryError(f"{_either(IMAGE_COLUMNS)} is {image!r}; wanted the path of an image", "without an image")
    caption, n_captions = first_caption(_value(row, CAPTION_COLUMNS), _either(CAPTION_COLUMNS))
    times[image] += 1
    default = image if times[image] == 1 else f"{image}#{times[image]}"
    identifier, label = _string(row.get("id")), _string(row.get("label"))
    return ProbeEntry(identifier or default, table.parent / image, caption, label or None, where, n_captions)


def _value(row: Mapping[str, Any], columns: tuple[str, str]) -> Any:
    """The first of the columns that is filled in, texts stripped and numbers as text; None if none is."""
    values = (row.get(column) for column in columns)
    plain = (_string(value) if isinstance(value, str | int | float) else value for value in values)
    return next((value for value in plain if value), None)


def _string(value: Any) -> str:
    return "" if value is None else str(value).strip()


def _either(columns: tuple[str, str]) -> str:
    return " or ".join(f"'{column}'" for column in columns)
