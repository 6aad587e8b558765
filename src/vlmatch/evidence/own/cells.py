"""Cells of a truth: one score of one VLM on one benchmark, read from a table or from the files of a harness."""

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from vlmatch.errors import VlmatchError
from vlmatch.evidence.own.lmms_eval import lmms_cells
from vlmatch.evidence.own.names import Names
from vlmatch.evidence.own.reading import UNNAMED, Cell, Reading
from vlmatch.evidence.own.tables import TableRow, UserTable, number, read_table, some
from vlmatch.evidence.own.vlmevalkit import SUMMARY_HEAD, kit_cells, summary_cells

if TYPE_CHECKING:
    import pandas as pd

KEY = "study.truth"
NEEDED = ("encoder", "llm", "benchmark", "score")
KNOWN = (*NEEDED, "seed", "recipe", "family")


@dataclass(frozen=True)
class OwnTruth:
    """The cells that count, their source, and one line for each kind of cell that does not count."""

    source: str
    cells: tuple[Cell, ...]
    notes: tuple[str, ...]


def read_truth(given: "Path | pd.DataFrame", names: Names) -> OwnTruth:
    """Read a truth: a table (encoder, llm, benchmark, score[, seed, recipe]) or the results of a harness.

    given: a CSV, TSV, Excel file or data frame; the summary of VLMEvalKit; a *_results.json of lmms-eval; or a folder
    of result files of either. Rows without a number, and rows that contradict each other, are left out and noted.
    Raises VlmatchError where nothing is left.
    """
    reading = _reading(given, names)
    cells, notes = _without_repeats(reading.cells)
    if not cells:
        raise VlmatchError("; ".join([f"{KEY}={reading.source} has no score that counts", *reading.notes, *notes]))
    return OwnTruth(reading.source, tuple(cells), (*reading.notes, *notes))


def _reading(given: "Path | pd.DataFrame", names: Names) -> Reading:
    if isinstance(given, Path):
        if not given.exists():
            raise VlmatchError(f"{KEY}='{given}' does not exist; give a CSV, a result file or a folder of these")
        if given.is_dir():
            return _folder(given, names)
        if given.suffix == ".json":
            return lmms_cells([given], names, f"'{given}'")
    table = read_table(KEY, given, KNOWN)
    if SUMMARY_HEAD in table.columns and "encoder" not in table.columns:
        return summary_cells(table, names)
    return _table(table, names)


def _folder(folder: Path, names: Names) -> Reading:
    """The result files of lmms-eval and VLMEvalKit in a folder."""
    lmms = lmms_cells(sorted(folder.rglob("*results.json")), names, f"'{folder}'")
    kit = kit_cells(folder, names)
    if not (lmms.cells or kit.cells or lmms.notes or kit.notes):
        raise VlmatchError(
            f"{KEY}='{folder}' has no result files; wanted *results.json of lmms-eval, or *_acc.csv, *_score.csv or "
            "*_score.json of VLMEvalKit"
        )
    return Reading(lmms.source, (*lmms.cells, *kit.cells), (*lmms.notes, *kit.notes))


def _table(table: UserTable, names: Names) -> Reading:
    table.require(*NEEDED)
    cells, unreadable = [], []
    for row in table.rows:
        score = number(row.cells["score"])
        if score is None or not row.cells["encoder"] or not row.cells["benchmark"]:
            unreadable.append(f"{row.where} ({row.cells['encoder'] or 'no encoder'}, score '{row.cells['score']}')")
            continue
        cells.append(_cell(row, score, names))
    notes = [f"rows without encoder, benchmark or a number as score are left out: {some(unreadable)}"]
    return Reading(table.name, tuple(cells), tuple(notes if unreadable else ()))


def _cell(row: TableRow, score: float, names: Names) -> Cell:
    theirs = row.cells["encoder"]
    named = names.given.get(theirs)
    return Cell(
        names.of_encoder(theirs),
        (named.llm if named else None) or row.cells["llm"] or UNNAMED,
        row.cells["benchmark"],
        (named.seed if named else None) or row.cells.get("seed") or "0",
        row.cells.get("recipe", ""),
        score,
        row.where,
    )


def _without_repeats(cells: Iterable[Cell]) -> tuple[list[Cell], list[str]]:
    """Equal repeats count once; where the scores of one run on one benchmark differ, none of them counts."""
    by_run: dict[tuple[str, ...], list[Cell]] = defaultdict(list)
    for cell in cells:
        by_run[cell.run].append(cell)
    repeats = [found for found in by_run.values() if len(found) > 1]
    differing = [found for found in repeats if len({cell.score for cell in found}) > 1]
    notes = []
    if equal := [found[1].where for found in repeats if found not in differing]:
        notes.append(f"equal rows count once: {some(equal)} repeat an earlier row")
    if differing:
        notes.append(
            "rows that contradict each other are left out; keep one of each, or give each a seed or recipe: "
            + some([_contradiction(found) for found in differing])
        )
    kept = [found[0] for found in by_run.values() if found not in differing]
    return kept, notes


def _contradiction(found: Sequence[Cell]) -> str:
    one, other = found[0], next(cell for cell in found if cell.score != found[0].score)
    return f"{one.where} and {other.where} ({one.encoder}, {one.benchmark}: {one.score:g} and {other.score:g})"
