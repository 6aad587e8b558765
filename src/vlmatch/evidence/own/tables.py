"""The user's tables, read as text: CSV or TSV with any usual separator, Excel, or a data frame."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from vlmatch.errors import VlmatchError, enumerated, one_line
from vlmatch.files import require_regular
from vlmatch.machine.disk import faults_as
from vlmatch.probes.tables import in_words, split
from vlmatch.probes.text import encoding_of

if TYPE_CHECKING:
    import pandas as pd

Cells = tuple[list[str], list[tuple[str, list[str]]]]
"""The header, and each row with its place."""

EXCEL = (".xlsx", ".xls")
SHOWN = 3  # of the places that one line names


@dataclass(frozen=True)
class TableRow:
    """One row: where it stands, such as 'line 7', and its cells by column, '' where a cell is empty."""

    where: str
    cells: Mapping[str, str]


@dataclass(frozen=True)
class UserTable:
    """A table with its key on the command line, its name for messages, its columns and its rows."""

    key: str
    name: str
    columns: tuple[str, ...]
    rows: tuple[TableRow, ...]

    def require(self, *columns: str) -> None:
        """Raise VlmatchError unless the table has these columns and a row."""
        missing = [column for column in columns if column not in self.columns]
        if missing:
            raise VlmatchError(
                f"{self.key}={self.name} has no column {' and '.join(missing)}; it has "
                f"{', '.join(self.columns) or 'none'}; wanted {', '.join(columns)}"
            )
        if not self.rows:
            raise VlmatchError(f"{self.key}={self.name} has a header and no rows; give one row for each result")


def read_table(key: str, given: "Path | pd.DataFrame", named: Sequence[str] = ()) -> UserTable:
    """Read a table; `named` are columns that are recognised whatever their case.

    Raises VlmatchError where the file is absent, no table, or not in Unicode.
    """
    name = f"'{given}'" if isinstance(given, Path) else "the data frame"

    def unreadable(error: Exception) -> VlmatchError:
        return VlmatchError(
            f"{key}={name} can't be read as a table: {one_line(error)}; give a CSV in UTF-8 with a header"
        )

    with faults_as(unreadable):  # a damaged Excel file raises whatever its reader meets
        header, places = _read(given) if isinstance(given, Path) else _of_frame(given, "row", 1)
    wanted = {column.casefold(): column for column in named}
    columns = [wanted.get(column.casefold(), column) for column in header]
    if twice := sorted({column for column in columns if columns.count(column) > 1}):
        raise VlmatchError(f"{key}={name} has two columns '{twice[0]}'; rename or remove one")
    rows = [TableRow(place, dict(zip(columns, cells, strict=True))) for place, cells in places]
    return UserTable(key, name, tuple(columns), tuple(rows))


def some(places: Sequence[str]) -> str:
    """The first places, and how many more there are: 'line 3, line 7, line 9, and 4 more'."""
    return enumerated(places, SHOWN)


def number(text: object) -> float | None:
    """The finite number that a cell holds; None if it holds none."""
    try:
        value = float(str(text))
    except ValueError:
        return None
    return value if math.isfinite(value) else None


def _read(path: Path) -> Cells:
    """The cells of a file; ValueError where a row has more of them than the header."""
    require_regular(path)
    if path.suffix.lower() in EXCEL:
        import pandas as pd

        return _of_frame(pd.read_excel(path, dtype=str, keep_default_na=False), "line", 2)  # line 1 is the header
    with path.open("rb") as file:
        encoding, _ = encoding_of(file.read(4))
    with path.open(encoding=encoding, newline="") as file:
        reader, delimiter, above = split(file, "\t" if path.suffix.lower() == ".tsv" else ",")
        header = [name.strip() or f"Unnamed: {place}" for place, name in enumerate(next(reader, []))]  # as pandas does
        found = []
        for fields in reader:
            cells = [field.strip() for field in fields]
            place = f"line {reader.line_num + above}"
            if any(cells[len(header) :]):
                raise ValueError(f"{place} has more cells than the header, split at {in_words(delimiter)}")
            if any(cells):
                found.append((place, [*cells[: len(header)], *[""] * (len(header) - len(cells))]))
        return header, found


def _of_frame(frame: "pd.DataFrame", place: str, first: int) -> Cells:
    """The cells of a data frame. place, first: what a row is called, and the number of the first one."""
    text = frame.astype(object).where(frame.notna(), "")
    rows = enumerate(text.itertuples(index=False, name=None), start=first)
    cells = [(f"{place} {number}", [str(cell).strip() for cell in row]) for number, row in rows]
    return [str(column).strip() for column in frame.columns], cells
