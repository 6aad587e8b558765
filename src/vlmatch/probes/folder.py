"""A user's own images: a folder with captions.csv, captions.tsv or captions.jsonl, or such a table itself."""

from collections import Counter
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from vlmatch.errors import VlmatchError
from vlmatch.objects import buildable
from vlmatch.probes.pairs import ProbeEntry, ProbeSet
from vlmatch.probes.selection import Options, build
from vlmatch.probes.tables import SUFFIXES, rows

IMAGE_COLUMNS = ("image", "file_name")
CAPTION_COLUMNS = ("caption", "text")


@buildable
def folder(path: str | Path, name: str = "folder", **options: Any) -> ProbeSet:
    """Read the pairs that a table lists, in its order; `options` are those of `selection.Options`.

    `path` is the table (.csv, .tsv or .jsonl), or the folder that holds it as captions.csv, .tsv or .jsonl.
    Columns: `image` (or `file_name`), a path from the table's folder; `caption` (or `text`); if wanted `id` and
    `label`. Without an id the image's path is it, with #2, #3, ... for its further captions.

    Raises VlmatchError naming the row that lacks something, or as `selection.build` does.
    """
    table = _table(name, Path(path).expanduser())
    return build(name, _entries(name, table), Options(**options), source=table.name)


def _table(name: str, path: Path) -> Path:
    if path.is_file():
        if path.suffix not in SUFFIXES:
            raise VlmatchError(f"probe '{name}': probe.path={path} is no folder and no {', '.join(SUFFIXES)}")
        return path
    tables = [path / f"captions{suffix}" for suffix in SUFFIXES]
    there = [table for table in tables if table.is_file()]
    if len(there) != 1:
        found = " and ".join(table.name for table in there) or "no captions.csv, captions.tsv or captions.jsonl"
        raise VlmatchError(f"probe '{name}': {found} in probe.path={path}; exactly one must list the pairs")
    return there[0]


def _entries(name: str, table: Path) -> Iterator[ProbeEntry]:
    times: Counter[str] = Counter()
    for where, row in rows(name, table):
        image = _value(name, where, row, IMAGE_COLUMNS)
        if not image:
            raise VlmatchError(f"probe '{name}': {where} names no image; fill it in or remove the row")
        times[image] += 1
        default = image if times[image] == 1 else f"{image}#{times[image]}"
        caption = _value(name, where, row, CAPTION_COLUMNS)
        label = _text(row.get("label"))
        yield ProbeEntry(_text(row.get("id")) or default, table.parent / image, caption, label or None, where)


def _value(name: str, where: str, row: Mapping[str, Any], columns: tuple[str, str]) -> str:
    """The first of the columns that is filled in, '' if none is; an error if the row has none of them."""
    if not any(column in row for column in columns):
        wanted = " or ".join(f"'{column}'" for column in columns)
        raise VlmatchError(f"probe '{name}': {where} has no {wanted}; name the column so, or add it")
    return next((value for column in columns if (value := _text(row.get(column)))), "")


def _text(value: object) -> str:
    return "" if value is None else str(value).strip()
