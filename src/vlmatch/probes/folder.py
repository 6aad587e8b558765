"""A user's own images: a folder with captions.csv or captions.jsonl beside or above them."""

import csv
import json
from collections import Counter
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from vlmatch.errors import VlmatchError
from vlmatch.probes.images import MAX_PIXELS
from vlmatch.probes.pairs import Entry, ProbeSet, build, with_digests

IMAGE_COLUMNS = ("image", "file_name")
CAPTION_COLUMNS = ("caption", "text")


def folder(
    path: str | Path,
    name: str = "folder",
    *,
    drop_duplicates: bool = True,
    limit: int | None = None,
    max_pixels: int = MAX_PIXELS,
) -> ProbeSet:
    """Read the pairs that captions.csv or captions.jsonl in the folder `path` lists, in its order.

    Columns: `image` (or `file_name`), a path from the folder; `caption` (or `text`); if wanted `id` and `label`.
    Without an id the image's path is it, with #2, #3, ... for its further captions.

    Raises VlmatchError naming the row that lacks something, or as `pairs.build` does.
    """
    table = _table(name, Path(path).expanduser())
    return build(
        name,
        with_digests(name, _entries(name, table)),
        drop_duplicates=drop_duplicates,
        limit=limit,
        source=table.name,
        max_pixels=max_pixels,
    )


def _table(name: str, path: Path) -> Path:
    tables = [path / "captions.csv", path / "captions.jsonl"]
    there = [table for table in tables if table.is_file()]
    if len(there) != 1:
        found = "both captions.csv and captions.jsonl" if there else "neither captions.csv nor captions.jsonl"
        raise VlmatchError(f"probe '{name}': {found} in probe.path={path}; exactly one must list the pairs")
    return there[0]


def _entries(name: str, table: Path) -> Iterator[Entry]:
    times: Counter[str] = Counter()
    for where, row in _rows_of_csv(name, table) if table.suffix == ".csv" else _rows_of_jsonl(name, table):
        image = _value(name, where, row, IMAGE_COLUMNS)
        caption = _value(name, where, row, CAPTION_COLUMNS)
        if not (table.parent / image).is_file():
            raise VlmatchError(f"probe '{name}': {where}: image '{image}' is not there; restore it or remove the row")
        times[image] += 1
        default = image if times[image] == 1 else f"{image}#{times[image]}"
        label = _text(row.get("label"))
        yield Entry(_text(row.get("id")) or default, table.parent / image, caption, label or None)


def _rows_of_csv(name: str, table: Path) -> Iterator[tuple[str, Mapping[str, Any]]]:
    try:
        with table.open(encoding="utf-8-sig", newline="") as file:
            reader = csv.DictReader(file, strict=True)
            for row in reader:
                if None in row:
                    raise VlmatchError(
                        f"probe '{name}': {table.name} line {reader.line_num} has more fields than the header; "
                        'put captions with commas in "quotes"'
                    )
                yield f"{table.name} line {reader.line_num}", row
    except (csv.Error, UnicodeDecodeError) as error:
        raise VlmatchError(f"probe '{name}': {table.name} is no UTF-8 CSV ({error}); save it as such") from error


def _rows_of_jsonl(name: str, table: Path) -> Iterator[tuple[str, Mapping[str, Any]]]:
    for number, line in enumerate(table.read_bytes().splitlines(), start=1):
        if not line.strip():
            continue
        where = f"{table.name} line {number}"
        try:
            row = json.loads(line)
        except ValueError as error:
            raise VlmatchError(f"probe '{name}': {where} is no JSON ({error}); mend or remove it") from error
        if not isinstance(row, dict):
            raise VlmatchError(f'probe \'{name}\': {where} is no JSON object; wanted {{"image": ..., "caption": ...}}')
        yield where, row


def _value(name: str, where: str, row: Mapping[str, Any], columns: tuple[str, str]) -> str:
    for column in columns:
        if value := _text(row.get(column)):
            return value
    wanted = " or ".join(f"'{column}'" for column in columns)
    raise VlmatchError(f"probe '{name}': {where} has no {wanted}; fill it in or remove the row")


def _text(value: object) -> str:
    return "" if value is None else str(value).strip()
