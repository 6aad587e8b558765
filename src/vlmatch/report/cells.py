"""Tables of the page: columns and rows of cells, each with what is shown and what it is sorted by."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from markupsafe import Markup

from vlmatch.evidence.replay import Figure
from vlmatch.report.evidence import bare
from vlmatch.report.table import number
from vlmatch.report.words import percent
from vlmatch.scores.scored import Scored

UNKNOWN = "-"


@dataclass(frozen=True)
class Column:
    """A column. words: whether it holds words, which stand at its left. best_first: how a first click sorts it."""

    title: str
    tip: str = ""
    words: bool = False
    best_first: str = "ascending"


@dataclass(frozen=True)
class Cell:
    """What a cell shows, what stands small beside it, what it is sorted by (None: last), and its class."""

    text: str | Markup
    small: str = ""
    sorted_by: float | str | None = None
    style: str = ""


@dataclass(frozen=True)
class Line:
    """One row: the name in its first column, its cells, and the classes of the row."""

    name: str
    cells: tuple[Cell, ...]
    style: str = ""


@dataclass(frozen=True)
class Table:
    """A table of one row for each encoder, or for each of something else. key: its identifier within the page."""

    key: str
    head: str
    columns: tuple[Column, ...]
    lines: tuple[Line, ...]


def known_columns(table: Table) -> Table:
    """The table without the columns that have no entry."""
    kept = [
        place for place in range(len(table.columns)) if any(line.cells[place].text != UNKNOWN for line in table.lines)
    ]
    columns = tuple(table.columns[place] for place in kept)
    lines = tuple(replace(line, cells=tuple(line.cells[place] for place in kept)) for line in table.lines)
    return replace(table, columns=columns, lines=lines)


def score_column(scored: Scored, *, controls_last: bool = True) -> Column:
    """The column of a score, marked where it ranks a control ahead of a pretrained encoder."""
    better = "higher" if scored.higher_is_better else "lower"
    ahead = "" if controls_last else "; ranks a control ahead of a pretrained encoder"
    return Column(
        f"{scored.title}\N{NO-BREAK SPACE}{'↑' if scored.higher_is_better else '↓'}{'' if controls_last else ' ✗'}",
        f"{better} is better; uses {', '.join(scored.uses) or 'nothing'}{ahead}",
        best_first="descending" if scored.higher_is_better else "ascending",
    )


def score_cell(scored: Scored | None, small: Sequence[str] = ()) -> Cell:
    """A score's value with its deviation over subsamples; `small` stands beside it."""
    if scored is None:
        return Cell(UNKNOWN)
    deviation = [] if scored.deviation is None else [f"± {number(scored.deviation)}"]
    return Cell(number(scored.value), " · ".join([*deviation, *small]), scored.value)


def figure_cell(value: float | None, form: str = ",.0f") -> Cell:
    """A number in this format; a dash where it is not known."""
    return Cell(UNKNOWN) if value is None else Cell(format(value, form), sorted_by=value)


def share_cell(share: Figure | None) -> Cell:
    """A share as a percentage, with its interval; a dash where it is not known."""
    if share is None or share.value is None:
        return Cell(UNKNOWN)
    return Cell(percent(share.value), between(share, lambda end: f"{100 * end:z.0f}"), share.value)


def correlation_cell(found: Figure) -> Cell:
    """A correlation with its interval; a dash where it is not known."""
    return Cell(bare(found.value), between(found), found.value)


def between(found: Figure, shown: Callable[[float], str] = bare) -> str:
    """The interval of a figure, as '.14 to .42'; '' where it is not known."""
    return "" if found.low is None or found.high is None else f"{shown(found.low)} to {shown(found.high)}"


def words_cell(text: str | None, style: str = "") -> Cell:
    """Words; a dash where nothing is known."""
    return Cell(text, sorted_by=text, style=f"l {style}".strip()) if text else Cell(UNKNOWN, style="l")
