"""Rows of the study's CSV files: read, written, and a column of them as numbers."""

import csv
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

Row = Mapping[str, str]
"""A row as it was read: the text of each cell by its column."""
NewRow = Mapping[str, str | int]
"""A row that will be written."""


def read(path: Path) -> list[dict[str, str]]:
    """The rows of a CSV."""
    with path.open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def write(path: Path, rows: Sequence[NewRow]) -> None:
    """Write rows as a CSV with the columns of the first one; its folder is made if it is missing."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, list(rows[0]), lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)


def column(rows: Sequence[Row], key: str) -> NDArray[np.float64]:
    """A column as numbers: (n,); an empty cell is NaN."""
    return np.array([float(row[key] or "nan") for row in rows])
