"""Rows of a table of captions: CSV, TSV or JSONL, in UTF-8, or in UTF-16 with a byte order mark."""

import csv
import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from vlmatch.errors import VlmatchError

SUFFIXES = (".csv", ".tsv", ".jsonl")


def rows(name: str, table: Path) -> Iterator[tuple[str, Mapping[str, Any]]]:
    """Each row by column, and its place in words, such as 'captions.csv line 3'; `name` is the probe's, for errors.

    The suffix decides the form (`SUFFIXES`). A CSV or TSV has a header line; a JSONL has an object a line.

    Raises VlmatchError naming the line that is not of that form.
    """
    try:
        yield from _jsonl_rows(name, table) if table.suffix == ".jsonl" else _csv_rows(name, table)
    except UnicodeError as error:
        raise VlmatchError(
            f"probe '{name}': {table.name} is no UTF-8 {table.suffix[1:].upper()} ({error}); save it as UTF-8"
        ) from error


def _csv_rows(name: str, table: Path) -> Iterator[tuple[str, Mapping[str, Any]]]:
    kind = table.suffix[1:].upper()
    with table.open(encoding=_encoding(table), newline="") as file:
        reader = csv.DictReader(file, strict=True, delimiter="\t" if kind == "TSV" else ",")
        try:
            for row in reader:
                where = f"{table.name} line {reader.line_num}"
                if None in row:
                    raise VlmatchError(
                        f"probe '{name}': {where} has more fields than the header; "
                        'put captions with commas or tabs in "quotes"'
                    )
                yield where, row
        except csv.Error as error:
            where = f"{table.name} after line {reader.line_num}"
            raise VlmatchError(f"probe '{name}': {where} is no {kind} ({error}); mend the quotes there") from error


def _jsonl_rows(name: str, table: Path) -> Iterator[tuple[str, Mapping[str, Any]]]:
    with table.open(encoding=_encoding(table)) as file:
        for number, line in enumerate(file, start=1):
            if not line.strip():
                continue
            where = f"{table.name} line {number}"
            try:
                row = json.loads(line)
            except ValueError as error:
                raise VlmatchError(f"probe '{name}': {where} is no JSON ({error}); mend or remove it") from error
            if not isinstance(row, dict):
                wanted = '{"image": ..., "caption": ...}'
                raise VlmatchError(f"probe '{name}': {where} is no JSON object; wanted {wanted}")
            yield where, row


def _encoding(table: Path) -> str:
    with table.open("rb") as file:
        return "utf-16" if file.read(2) in (b"\xff\xfe", b"\xfe\xff") else "utf-8-sig"
