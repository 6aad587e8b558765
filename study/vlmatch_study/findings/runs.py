"""The trainings behind each section as a CSV, one line each, from which every figure can be computed again."""

import csv
from collections.abc import Sequence
from pathlib import Path

from vlmatch.evidence.truth import Truth
from vlmatch.evidence.truths import Comparison
from vlmatch.results import Result

HEAD = ("encoder", "llm", "recipe", "data", "steps", "suite", "seed", "dtype", "commit", "truth")


def write(path: Path, comparisons: Sequence[Comparison]) -> None:
    """Write one row for each training: what it was, its truth and the truth's parts, with all their digits.

    Without any training the file has only its header.
    """
    rows = [_row(truth, run) for each in comparisons for truth in each.truths for run in truth.runs]
    columns = dict.fromkeys([*HEAD, *(key for row in rows for key in row)])
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, list(columns), lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)


def _row(truth: Truth, run: Result) -> dict[str, str]:
    dtype, commit = run.dtype or "unknown", run.commit or ""
    suite = f"{run.suite.name} {run.suite.version}"
    about = (run.encoder, run.llm, run.recipe.name, run.data, str(run.steps or ""), suite, str(run.seed), dtype, commit)
    figures = {"truth": truth.by_seed[run.seed]}
    figures |= {name: part.value(run) for name, part in truth.definition.by_name.items()}
    return dict(zip(HEAD, about, strict=False)) | {name: repr(float(value)) for name, value in figures.items()}
