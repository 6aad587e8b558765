"""The scores of encoders from the user's table, with the facts that the catalogue adds."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

import yaml

from vlmatch.configs import choices, yaml_path
from vlmatch.encoders.catalogue import CatalogueEntry, catalogue
from vlmatch.errors import VlmatchError
from vlmatch.evidence.own.names import Names
from vlmatch.evidence.own.tables import TableRow, UserTable, number, read_table, some
from vlmatch.evidence.rules import Rule, single
from vlmatch.objects import target_named

if TYPE_CHECKING:
    import pandas as pd

KEY = "study.scores"
ABOUT = ("encoder", "llm", "family")  # the columns that are not scores
ENTRIES = {
    "language_supervised": "language_supervised",
    "tokens": "visual_tokens",
    "parameters": "image_parameters",
    "flops": "gflops",
    "resolution": "resolution",
    "zero_shot": "zero_shot_imagenet",
}
"""By the name of a score, the field of the catalogue that it reads."""


@dataclass(frozen=True)
class KnownScore:
    """One score by encoder. direct: the rule that takes it as it is, with its title and direction."""

    direct: Rule
    values: Mapping[str, float]


@dataclass(frozen=True)
class ScoreTable:
    """The scores of encoders for one LLM. llm: None if they hold for any. about: features and captions, in words."""

    llm: str | None
    scores: Mapping[str, KnownScore]
    families: Mapping[str, str] = field(default_factory=dict)
    about: str = ""
    notes: tuple[str, ...] = ()

    @property
    def encoders(self) -> tuple[str, ...]:
        """Every encoder that has a score."""
        return tuple(dict.fromkeys(name for score in self.scores.values() for name in score.values))

    def family(self, encoder: str) -> str:
        """The encoder's family: as the table gives it, else as in the catalogue, else the encoder's own name."""
        entry = catalogue().get(encoder)
        return self.families.get(encoder) or (entry.family if entry else encoder)


def read_scores(given: "Path | pd.DataFrame", names: Names) -> list[ScoreTable]:
    """Read a table of `encoder[, llm, family]` and one column for each score; returns one table for each LLM in it.

    A column that is named after one of our scores has the direction of that score. In any other column more is better,
    unless its name starts with '-'. If the table lacks a column of the spec sheet, the catalogue adds what it knows.
    Raises VlmatchError if there is no score, or if an encoder has two rows.
    """
    table = read_table(KEY, given, ABOUT)
    table.require("encoder")
    columns = [column for column in table.columns if column not in ABOUT]
    numeric = [each for each in columns if any(number(row.cells[each]) is not None for row in table.rows)]
    if not numeric:
        raise VlmatchError(f"{KEY}={table.name} has no column of numbers; it has {', '.join(table.columns)}")
    notes = _notes(table, columns, numeric)
    llms = list(dict.fromkeys(row.cells.get("llm") or None for row in table.rows))
    return [_of_llm(table, llm, numeric, names, notes) for llm in llms]


def _of_llm(table: UserTable, llm: str | None, columns: list[str], names: Names, notes: tuple[str, ...]) -> ScoreTable:
    rows: dict[str, TableRow] = {}
    for row in table.rows:
        if (row.cells.get("llm") or None) == llm and row.cells["encoder"]:
            name = names.of_encoder(row.cells["encoder"])
            if name in rows:
                raise VlmatchError(
                    f"{KEY}={table.name}: {rows[name].where} and {row.where} both hold encoder '{name}'; keep one"
                )
            rows[name] = row
    scores = {}
    for column in columns:
        direct = described(column)
        values = {name: number(row.cells[column]) for name, row in rows.items()}
        known = {name: value for name, value in values.items() if value is not None}
        if known:
            scores[direct.name] = KnownScore(direct, known)
    families = {name: row.cells.get("family", "") for name, row in rows.items()}
    return ScoreTable(llm, scores | _of_catalogue(rows, scores), families, notes=notes)


def _notes(table: UserTable, columns: list[str], numeric: list[str]) -> tuple[str, ...]:
    notes = []
    if words := [column for column in columns if column not in numeric]:
        notes.append(f"columns of {table.name} without numbers are not read: {', '.join(words)}")
    empty = [
        f"{row.where} ({row.cells['encoder']}, {column})"
        for column in numeric
        for row in table.rows
        if number(row.cells[column]) is None
    ]
    if empty:
        notes.append(f"scores that are missing or not a number: {some(empty)}")
    unknown = [column for column in numeric if column.removeprefix("-") not in choices("score")]
    if guessed := [column for column in unknown if not column.startswith("-")]:
        notes.append(f"more counts as better in {', '.join(guessed)}; if less is better, write '-{guessed[0]}'")
    return tuple(notes)


@cache
def described(column: str) -> Rule:
    """The rule of one column: with title and direction of the score of this name; else more is better without '-'."""
    name = column.removeprefix("-")
    if name not in choices("score"):
        return single(name, name, not column.startswith("-"))
    score = target_named(yaml.safe_load(yaml_path("score", name).read_text(encoding="utf-8"))[name]["_target_"])
    return single(name, score.title, score.higher_is_better)


def _of_catalogue(encoders: Mapping[str, object], given: Mapping[str, object]) -> dict[str, KnownScore]:
    """The lines of the spec sheet that the table lacks and that the catalogue has for more than half the encoders."""
    entries = {name: catalogue()[name] for name in encoders if name in catalogue()}
    found = {}
    for name, of in ENTRIES.items():
        values = {encoder: value for encoder, entry in entries.items() if (value := _value(entry, of)) is not None}
        if 2 * len(values) > len(encoders) and name not in given:
            found[name] = KnownScore(described(name), values)
    return found


def _value(entry: CatalogueEntry, of: str) -> float | None:
    value = getattr(entry, of)
    return None if value is None else float(value)
