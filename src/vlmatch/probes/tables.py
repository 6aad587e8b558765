"""Rows of a table of captions: CSV, TSV or JSONL, in UTF-8, or in UTF-16 with a byte order mark."""

import codecs
import csv
import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from vlmatch.errors import VlmatchError
from vlmatch.probes.problems import EntryError

SUFFIXES = (".csv", ".tsv", ".jsonl")

_DELIMITERS = {",": "a comma", "\t": "a tab", ";": "a semicolon", "|": "a bar"}

Row = Mapping[str, Any] | EntryError
"""The values of a row by column, or why the row can't be used."""


def rows(name: str, table: Path) -> Iterator[tuple[str, Row]]:
    """Each row with its place, such as 'captions.csv line 3'; `name` is the probe's, for errors.

    The suffix decides the form (`SUFFIXES`). A CSV or TSV has a header line, a JSONL one object a line. If the header
    of a CSV or TSV has a single column, but several when split at a semicolon, a tab, a bar or a comma, the table is
    split there: spreadsheets write such files in many countries.

    Raises VlmatchError naming the file that is in another encoding or form.
    """
    try:
        encoding = _encoding(name, table)
        yield from _jsonl_rows(table, encoding) if table.suffix == ".jsonl" else _csv_rows(name, table, encoding)
    except UnicodeError as error:
        kind = table.suffix[1:].upper()
        raise VlmatchError(
            f"probe '{name}': {table.name} is not a {kind} in UTF-8 ({error}); save it as UTF-8"
        ) from error


def _csv_rows(name: str, table: Path, encoding: str) -> Iterator[tuple[str, Row]]:
    kind = table.suffix[1:].upper()
    with table.open(encoding=encoding, newline="") as file:
        delimiter = _delimiter(file.readline(), "\t" if kind == "TSV" else ",")
        file.seek(0)
        reader = csv.DictReader(file, strict=True, delimiter=delimiter)
        try:
            reader.fieldnames = [name.strip() for name in reader.fieldnames or ()]
            for row in reader:
                where = f"{table.name} line {reader.line_num}"
                yield where, _too_long(delimiter) if None in row else row
        except csv.Error as error:
            where = f"{table.name} after line {reader.line_num}"
            raise VlmatchError(
                f"probe '{name}': {where} is not {kind} split at {_DELIMITERS[delimiter]} ({error}); correct its quotes"
            ) from error


def _delimiter(header: str, default: str) -> str:
    """The character that splits a header line into columns."""
    others = [delimiter for delimiter in _DELIMITERS if delimiter != default]
    return next((each for each in (default, *others) if each in header), default)


def _too_long(delimiter: str) -> EntryError:
    return EntryError(
        f"it has more fields than the header, split at {_DELIMITERS[delimiter]}",
        "with too many fields",
        f'put captions with {_DELIMITERS[delimiter]} in "quotes"',
    )


def _jsonl_rows(table: Path, encoding: str) -> Iterator[tuple[str, Row]]:
    with table.open(encoding=encoding) as file:
        for number, line in enumerate(file, start=1):
            if line.strip():
                yield f"{table.name} line {number}", _json_row(line)


def _json_row(line: str) -> Row:
    try:
        row = json.loads(line)
    except (ValueError, RecursionError) as error:
        return EntryError(f"it is not JSON ({error})", "malformed")
    if not isinstance(row, dict):
        wanted = '{"image": ..., "caption": ...}'
        return EntryError(f"it is of type {type(row).__name__}; wanted an object, {wanted}", "malformed")
    return row


def _encoding(name: str, table: Path) -> str:
    """UTF-16 if the file has its byte order mark, else UTF-8.

    Raises VlmatchError for UTF-32, and for UTF-16 without a mark: every table starts with an ASCII character, so a zero
    among the first two bytes is a part of one.
    """
    with table.open("rb") as file:
        start = file.read(4)
    if start != codecs.BOM_UTF32_LE and start.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        return "utf-16"
    if start == codecs.BOM_UTF32_LE or b"\x00" in start[:2]:
        raise VlmatchError(
            f"probe '{name}': {table.name} is in UTF-16 without a byte order mark, or in UTF-32; save it as UTF-8"
        )
    return "utf-8-sig"
