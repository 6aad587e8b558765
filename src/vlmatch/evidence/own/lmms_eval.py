"""Result files of lmms-eval as a truth: the file, its arguments or its folder name the VLM."""

import re
from collections.abc import Sequence
from pathlib import Path, PurePosixPath

from vlmatch.benchmarks.lmms_results import ResultFile, read_result_file
from vlmatch.errors import VlmatchError
from vlmatch.evidence.own.measured import UNNAMED, Cell, Reading
from vlmatch.evidence.own.names import Named, Names
from vlmatch.evidence.own.tables import some

_PRETRAINED = re.compile(r"(?:^|,)\s*(?:pretrained|model_version|model)=([^,]+)")


def lmms_cells(files: Sequence[Path], names: Names, source: str) -> Reading:
    """The public benchmarks of each file, as scores from 0 to 1; a file that can't be read is noted."""
    cells: list[Cell] = []
    notes: list[str] = []
    others: set[str] = set()
    for path in files:
        try:
            file = read_result_file(path)
        except VlmatchError as error:
            notes.append(f"left out: {error}")
            continue
        others.update(file.skipped)
        named = _named(file, names)
        cells += [
            Cell(
                named.encoder or path.parent.name,
                named.llm or UNNAMED,
                benchmark,
                named.seed or "0",
                "" if file.limit is None else f"the first {file.limit} items",
                found.score,
                path.name,
            )
            for benchmark, found in file.benchmarks.items()
        ]
    if others:
        notes.append(f"tasks of lmms-eval that are none of our public benchmarks are left out: {some(sorted(others))}")
    return Reading(source, tuple(cells), tuple(notes))


def _named(file: ResultFile, names: Names) -> Named:
    """The VLM of a file: files of task=public say it; others have a checkpoint's name, that `study.names` explains."""
    if not isinstance(file.model, str):
        said = {key: str(file.model[key]) for key in ("encoder", "llm", "seed") if key in file.model}
        if "encoder" in said:
            return Named(said["encoder"], said.get("llm"), said.get("seed"))
        model = ""
    else:
        found = _PRETRAINED.search(file.model)
        model = found[1].strip() if found else ""
    folder = file.path.parent.name
    return names.of_model([model, folder, PurePosixPath(model).name] if model else [folder])
