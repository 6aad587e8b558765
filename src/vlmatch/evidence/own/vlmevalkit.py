"""Result files of VLMEvalKit as a truth: one small table for each model and dataset, or its summary of all."""

import json
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from statistics import fmean
from typing import Any

from vlmatch.errors import VlmatchError, one_line
from vlmatch.evidence.own.names import Named, Names
from vlmatch.evidence.own.reading import UNNAMED, Cell, Reading
from vlmatch.evidence.own.tables import TableRow, UserTable, number, read_table, some
from vlmatch.files import require_regular

KEY = "study.truth"
SUMMARY_HEAD = "Model"  # of the first column of scripts/summarize.py's table
ENDINGS = ("_acc.csv", "_score.csv", "_score.json")
# A judge's name stands between the dataset's and the ending.
_JUDGE = re.compile(r"_(exact_matching|openai|chatgpt-[\w.]+|gpt-?[\w.]+(-[\w.]+)*|qwen-[\w.]+|deepseek[\w.-]*)$")
SCORES = ("Overall", "acc", "Relative Score (main)", "Final Score Norm", "Final Score", "overall")
SUMS: tuple[tuple[str, ...], ...] = (("perception", "reasoning"),)  # MME
MEANS: tuple[tuple[str, ...], ...] = (("aAcc", "fAcc", "qAcc"),)  # HallusionBench
WHOLE = ("overall", "all", "validation", "val")  # how the row over all items is called, the best name first


def kit_cells(folder: Path, names: Names) -> Reading:
    """The score of every `MODEL/[RUN/]MODEL_DATASET[_JUDGE]_acc.csv` and the like; files without one are noted.

    A model's newest result counts: the one in the model's own folder, else the one of the last run by name.
    """
    found: dict[tuple[str, str], Path] = {}
    older = []
    for model, dataset, path in _files(folder):
        if (model, dataset) in found:
            older.append(path.name)
        found.setdefault((model, dataset), path)
    cells, notes = [], []
    for (model, dataset), path in sorted(found.items()):
        try:
            score = _score(path)
        except (OSError, ValueError, VlmatchError) as error:
            notes.append(f"left out: '{path}': {one_line(error)}")
            continue
        cells.append(_cell(names.of_model([model]), dataset, score, path.name))
    if older:
        notes.append(f"older results of the same model and dataset are not read: {some(sorted(older))}")
    return Reading(f"'{folder}'", tuple(cells), tuple(notes))


def summary_cells(table: UserTable, names: Names) -> Reading:
    """The summary of VLMEvalKit: a row for each model, a column for each dataset."""
    table.require(SUMMARY_HEAD)
    cells, empty = [], []
    for row in table.rows:
        named = names.of_model([row.cells[SUMMARY_HEAD]])
        for dataset, text in row.cells.items():
            if not dataset or dataset == SUMMARY_HEAD or dataset.startswith("Unnamed:"):
                continue
            score = number(text)
            if score is None:
                empty.append(f"{row.where} ({row.cells[SUMMARY_HEAD]}, {dataset})")
            else:
                cells.append(_cell(named, dataset, score, row.where))
    notes = (f"cells without a number are left out: {some(empty)}",) if empty else ()
    return Reading(table.name, tuple(cells), notes)


def _cell(named: Named, dataset: str, score: float, where: str) -> Cell:
    return Cell(str(named.encoder), named.llm or UNNAMED, dataset, named.seed or "0", "", score, where)


def _files(folder: Path) -> Iterator[tuple[str, str, Path]]:
    """Model, dataset and path of each result file, the one that counts first; a link and its target are one file."""
    paths = [path for path in folder.rglob("*") if path.name.endswith(ENDINGS)]
    seen = set()
    for path in sorted(sorted(paths, reverse=True), key=lambda path: len(path.parts)):
        if path.resolve() in seen:
            continue
        seen.add(path.resolve())
        stem = path.name[: -len(next(each for each in ENDINGS if path.name.endswith(each)))]
        for parent in path.parents[:2]:
            if stem.startswith(f"{parent.name}_"):
                yield parent.name, _JUDGE.sub("", stem.removeprefix(f"{parent.name}_")), path
                break


def _score(path: Path) -> float:
    """The one figure of a result file that stands for its dataset."""
    require_regular(path)
    if path.suffix == ".json":
        plain = json.loads(path.read_text(encoding="utf-8"))
        return _figure(plain if isinstance(plain, dict) else {})
    return _figure(_whole(read_table(KEY, path)).cells)


def _whole(table: UserTable) -> TableRow:
    """The row over all items: the only row, or the one that has a name of `WHOLE`."""
    if len(table.rows) == 1:
        return table.rows[0]
    for name in WHOLE:
        for row in table.rows:
            if any(cell.casefold() == name for cell in row.cells.values()):
                return row
    raise VlmatchError(f"none of its {len(table.rows)} rows is called {' or '.join(WHOLE)}")


def _figure(cells: Mapping[str, Any]) -> float:
    found = {name: value for name, cell in cells.items() if (value := number(cell)) is not None}
    for parts in SUMS:
        if set(parts) <= set(found):
            return sum(found[part] for part in parts)
    for parts in MEANS:
        if set(parts) <= set(found):
            return fmean(found[part] for part in parts)
    for name in SCORES:
        if name in found:
            return found[name]
    raise VlmatchError(f"it has numbers for {', '.join(found) or 'nothing'}; wanted one of {', '.join(SCORES)}")
