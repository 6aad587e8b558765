"""Result files of lmms-eval as a truth: the file, its arguments or its folder name the VLM."""

import re
from collections.abc import Mapping, Sequence
from pathlib import Path, PurePosixPath
from typing import Any

from vlmatch.benchmarks.lmms_results import public_tasks, read_plain, read_result_file
from vlmatch.errors import VlmatchError
from vlmatch.evidence.own.names import Named, Names
from vlmatch.evidence.own.reading import UNNAMED, Cell, Reading
from vlmatch.evidence.own.tables import number, some

_PRETRAINED = re.compile(r"(?:^|,)\s*(?:pretrained|model_version|model)=([^,]+)")
WHOLE = re.compile("overall|average", re.IGNORECASE)  # if a task has several figures, in the name of the overall one


def lmms_cells(files: Sequence[Path], names: Names, source: str) -> Reading:
    """One score for each task of each file; notes say which files can't be read and which tasks have several figures.

    Our public benchmarks are scored as task=import scores them, from 0 to 1. Any other task counts by its only figure,
    or by the only one that is called overall or average.
    """
    cells: list[Cell] = []
    notes: list[str] = []
    unclear: list[str] = []
    for path in files:
        try:
            plain = read_plain(path, "results", "config")
            scores = _scores(path, plain)
        except VlmatchError as error:
            notes.append(f"left out: {error}")
            continue
        named, limit = _named(path, plain["config"].get("model_args"), names), plain["config"].get("limit")
        recipe = "" if limit in (None, -1) else f"the first {limit} items"
        for task, score in scores.items():
            if score is None:
                unclear.append(f"{path.parent.name}/{path.name} ({task})")
                continue
            llm, seed = named.llm or UNNAMED, named.seed or "0"
            cells.append(Cell(named.encoder or path.parent.name, llm, task, seed, recipe, score, path.name))
    if unclear:
        notes.append(f"tasks are left out unless exactly one figure counts and more of it is better: {some(unclear)}")
    return Reading(source, tuple(cells), tuple(notes))


def _scores(path: Path, plain: Mapping[str, Any]) -> dict[str, float | None]:
    """By benchmark or task, its score; None if it is not clear which figure counts."""
    results = plain["results"]
    known = set(results) & set(public_tasks())
    ours = read_result_file(path).benchmarks if known else {}
    better = plain.get("higher_is_better")
    stated = better if isinstance(better, dict) else {}
    others = {task: _figure(results[task], stated.get(task)) for task in results if task not in known}
    return {**{name: each.score for name, each in ours.items()}, **others}


def _figure(figures: Any, higher_is_better: Any) -> float | None:
    """The only figure of a task, or the only overall one; None if there is no such figure, or less of it is better."""
    if not isinstance(figures, Mapping):
        return None
    found = {
        key: value
        for key, each in figures.items()
        if "," in key and "_stderr" not in key and (value := number(each)) is not None
    }
    if len(found) > 1:
        found = {key: value for key, value in found.items() if WHOLE.search(key)}
    if len(found) != 1:
        return None
    ((key, value),) = found.items()
    less = isinstance(higher_is_better, Mapping) and higher_is_better.get(key.partition(",")[0]) is False
    return None if less else value


def _named(path: Path, model: Any, names: Names) -> Named:
    """The VLM of a file. Files of task=public name it; others name a checkpoint, which `study.names` explains."""
    folder = path.parent.name
    if isinstance(model, Mapping):
        said = {key: str(model[key]) for key in ("encoder", "llm", "seed", "pretrained") if key in model}
        if "encoder" in said:
            return Named(said["encoder"], said.get("llm"), said.get("seed"))
        checkpoint = said.get("pretrained", "")
    else:
        found = _PRETRAINED.search(str(model or ""))
        checkpoint = found[1].strip() if found else ""
    return names.of_model([checkpoint, folder, PurePosixPath(checkpoint).name] if checkpoint else [folder])
