"""Results that a later result of the same run replaced: kept aside, shown, and never counted."""

import re
import shutil
from collections.abc import Iterable
from pathlib import Path

from vlmatch.errors import VlmatchError
from vlmatch.results import REPLACED, Result, read, read_file, rendered, write


def keep_aside(folder: Path, run: Path) -> Path | None:
    """Move a result and its likelihoods aside, to make room for a new result; returns the old result's new path.

    The new path is REPLACED/RECIPE/LLM-DATA/ENCODER-SEED.N.json below `folder`, with the first free N from 1. None if
    `folder` holds no result of the run.
    """
    path = folder / run
    if not path.is_file():
        return None
    number = 1
    while (kept := _place(folder, run, number)).exists():
        number += 1
    kept.parent.mkdir(parents=True, exist_ok=True)
    likelihoods = path.with_suffix(".npz")
    if likelihoods.is_file():
        shutil.move(likelihoods, kept.with_suffix(".npz"))
    return Path(shutil.move(path, kept))


def write_keeping(folder: Path, result: Result) -> Path:
    """Write a result to the path of its run below `folder`; another result of the run is kept aside first."""
    path = folder / result.run
    if path.is_file() and rendered(read_file(path)) != rendered(result):
        keep_aside(folder, result.run)
    return write(folder, result)


def read_replaced(folder: Path) -> list[Result]:
    """Every result that was kept aside below `folder`, in the order of paths.

    Raises VlmatchError on a file that `results.read_file` refuses, and on one that is not at the path of its run.
    """
    found = []
    for path in sorted((folder / REPLACED).rglob("*.json")):
        result = read_file(path)
        number = re.fullmatch(r".*\.([1-9][0-9]*)", path.stem)
        if number is None or path != _place(folder, result.run, int(number[1])):
            wanted = _place(folder, result.run, 1)
            raise VlmatchError(f"replaced result '{path}' belongs to the run {result.run}; move it to '{wanted}'")
        found.append(result)
    return found


def replaced_in(folders: Iterable[Path]) -> list[Result]:
    """The results in `folders` that do not count.

    These are the ones that were kept aside, and those that another result of the same run in a later folder hides
    (`results.read_folders`).
    """
    found: list[Result] = []
    counted: dict[Path, Result] = {}
    for folder in folders:
        for result in read(folder):
            other = counted.get(result.run)
            found += [other] if other is not None and rendered(other) != rendered(result) else []
            counted[result.run] = result
        found += read_replaced(folder)
    return found


def _place(folder: Path, run: Path, number: int) -> Path:
    return folder / REPLACED / run.with_name(f"{run.stem}.{number}.json")
