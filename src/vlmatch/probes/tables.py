"""Rows of a table of captions: CSV, TSV, JSONL or a JSON list, in UTF-8, UTF-16 or UTF-32."""

import csv
import io
import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any, NamedTuple, TextIO

from vlmatch.errors import VlmatchError
from vlmatch.probes.json_items import json_items
from vlmatch.probes.places import opened
from vlmatch.probes.problems import EntryError
from vlmatch.probes.text import encoding_of, parsed_json, require_unicode

SUFFIXES = (".csv", ".tsv", ".jsonl", ".json")
STEMS = ("captions", "metadata")  # of a table in a folder; Hugging Face's image folders use the second

_DELIMITERS = {",": "a comma", "\t": "a tab", ";": "a semicolon", "|": "a bar"}
_SEPARATOR_LINE = re.compile(r"sep=(.)\s*")  # the line in a CSV that tells Excel the separator
_LONGEST_FIELD = 2**31 - 1  # for the csv module, whose own limit of 131,072 characters is shorter than some captions

Row = Mapping[str, Any] | EntryError
"""The values of a row by column, or why the row can't be used."""


@dataclass(frozen=True)
class TableFile:
    """A table in a folder or zip file. encoding: None for Unicode, which its first bytes show.

    probe: the probe's name, for errors.
    """

    probe: str
    place: Path
    member: str
    encoding: str | None = None

    @property
    def name(self) -> str:
        """Its name without folders."""
        return PurePosixPath(self.member).name

    @property
    def suffix(self) -> str:
        """The ending of its name, in lower case."""
        return PurePosixPath(self.member).suffix.lower()

    @property
    def kind(self) -> str:
        """The name of its format, for messages."""
        return self.suffix[1:].upper()

    def open(self, newline: str | None = None) -> TextIO:
        """The table as text."""
        file = opened(self.place, self.member)
        encoding, errors = (self.encoding, "strict") if self.encoding else encoding_of(file.read(4))
        file.seek(0)
        return io.TextIOWrapper(file, encoding=encoding, errors=errors, newline=newline)


def is_named_as_table(name: str, stems: Sequence[str] = STEMS) -> bool:
    """Whether a file in a folder is a table of captions, by its name."""
    path = PurePosixPath(name)
    return path.stem in stems and path.suffix in SUFFIXES


def rows(table: TableFile) -> Iterator[tuple[str, Row]]:
    """Each row with its place, such as 'captions.csv line 3'.

    The suffix decides the format (`SUFFIXES`). A CSV or TSV has a header line; its delimiter is the character (a comma,
    tab, semicolon or bar) that splits this line into the most columns, because spreadsheets write semicolons in many
    countries. A JSONL has one object per line, a JSON a list of objects.

    Raises VlmatchError naming the file if it has another encoding or format.
    """
    readers = {".jsonl": _jsonl_rows, ".json": _json_rows}
    try:
        yield from readers.get(table.suffix, _csv_rows)(table)
    except (UnicodeError, LookupError) as error:
        said = f"probe.encoding={table.encoding}" if table.encoding else "Unicode"
        raise VlmatchError(
            f"probe '{table.probe}': {table.name} is not a {table.kind} in {said} ({error}); save it as UTF-8, or name "
            "its encoding by probe.encoding=cp1252 or the like"
        ) from error


class Split(NamedTuple):
    """A CSV or TSV from its header on. rows: a reader of `csv`. above: how many lines are above the header."""

    rows: Any
    delimiter: str
    above: int


def split(file: TextIO, usual: str = ",") -> Split:
    """Split a CSV or TSV, opened with newline='', into rows and cells.

    A first line such as `sep=;` names the delimiter, as for Excel. Otherwise the delimiter is the character that splits
    the header into the most columns; `usual` wins a tie.
    """
    csv.field_size_limit(_LONGEST_FIELD)
    first = file.readline()
    told = _SEPARATOR_LINE.fullmatch(first)
    if told is None:
        file.seek(0)
    delimiter = told[1] if told else _delimiter(first, usual)
    return Split(csv.reader(file, strict=True, delimiter=delimiter), delimiter, int(told is not None))


def _csv_rows(table: TableFile) -> Iterator[tuple[str, Row]]:
    with table.open(newline="") as file:
        reader, delimiter, above = split(file, "\t" if table.suffix == ".tsv" else ",")
        lines = reader.line_num
        try:
            columns = [name.strip() for name in next(reader, [])]
            lines = reader.line_num
            _require_header(table, columns, delimiter)
            name = table.name
            for fields in reader:
                lines = reader.line_num
                if any(field.strip() for field in fields):
                    yield f"{name} line {lines + above}", _row(columns, fields, delimiter)
        except csv.Error as error:
            raise VlmatchError(
                f"probe '{table.probe}': {table.name} after line {lines + above} is not {table.kind} split at "
                f"{in_words(delimiter)} ({error}); look for a quote that is not closed, or not doubled inside quotes"
            ) from error


def _row(columns: Sequence[str], fields: Sequence[str], delimiter: str) -> Row:
    if len(fields) > len(columns) and any(fields[len(columns) :]):
        return EntryError(
            f"it has more fields than the header, split at {in_words(delimiter)}",
            "with too many fields",
            f'put captions with {in_words(delimiter)} in "quotes"',
        )
    return dict(zip(columns, fields, strict=False))


def _delimiter(header: str, default: str) -> str:
    """The character that splits a header line into the most columns; `default` wins a tie."""
    return max((default, *_DELIMITERS), key=lambda each: len(next(csv.reader([header], delimiter=each), [])))


def _require_header(table: TableFile, columns: Sequence[str], delimiter: str) -> None:
    try:
        require_unicode("its header", "".join(columns))
    except EntryError as problem:
        raise VlmatchError(
            f"probe '{table.probe}': {table.name}: {problem}, or name its encoding by probe.encoding=cp1252 or the like"
        ) from problem
    twice = [column for column, times in Counter(columns).items() if column and times > 1]
    if twice:
        raise VlmatchError(
            f"probe '{table.probe}': {table.name} has two columns {twice[0]!r}, split at {in_words(delimiter)}; rename "
            "or remove one"
        )


def in_words(delimiter: str) -> str:
    """What a delimiter is called."""
    return _DELIMITERS.get(delimiter, repr(delimiter))


def _jsonl_rows(table: TableFile) -> Iterator[tuple[str, Row]]:
    with table.open() as file:
        for number, line in enumerate(file, start=1):
            if number == 1 and line.lstrip().startswith("["):
                yield from _json_rows(table)
                return
            if line.strip():
                yield f"{table.name} line {number}", _json_row(line)


def _json_rows(table: TableFile) -> Iterator[tuple[str, Row]]:
    with table.open() as file:
        text = file.read()
    try:
        items = json_items(text, lines=False)
    except EntryError as problem:
        raise VlmatchError(
            f"probe '{table.probe}': {table.name}: {problem.problem}; give a list of objects, or one object a line"
        ) from problem
    for number, item in items:
        yield f"{table.name} entry {number}", _object(item)


def _json_row(line: str) -> Row:
    try:
        return _object(parsed_json(line))
    except EntryError as problem:
        return problem


def _object(row: Any) -> Row:
    if isinstance(row, dict | EntryError):
        return row
    wanted = '{"image": ..., "caption": ...}'
    return EntryError(f"it is of type {type(row).__name__}; wanted an object, {wanted}", "malformed")
