"""Result files of lmms-eval: reads their public benchmarks, as scores from 0 to 1."""

import csv
import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from vlmatch.errors import VlmatchError, one_line
from vlmatch.files import require_regular
from vlmatch.results import Benchmark

TABLE = Path(__file__).with_name("lmms_tasks.csv")
VERSION = 1  # of the table: raise it with any change that gives another score from the same file


@dataclass(frozen=True)
class PublicTask:
    """A benchmark's name in lmms-eval, and which of its figures is the score.

    metric: the metric and its filter, as in the file. perfect: its value for a model that is always right; the score is
    the value divided by it. chance: the score of guessing. items: how many independent answers the metric is computed
    from when all are asked. whole: whether the metric is only defined over all items.
    """

    benchmark: str
    task: str
    metric: str
    perfect: float
    chance: float
    items: int
    whole: bool


@dataclass(frozen=True)
class ResultFile:
    """The contents of one file.

    skipped: tasks that are none of our public benchmarks. limit: items a task; None: all. model: the arguments of the
    model. version: of lmms-eval.
    """

    path: Path
    benchmarks: Mapping[str, Benchmark]
    skipped: tuple[str, ...]
    limit: int | None
    model: str | Mapping[str, Any]
    version: str


@cache
def public_tasks() -> dict[str, PublicTask]:
    """The table of public benchmarks, by lmms-eval's names of their tasks."""
    with TABLE.open(newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    return {
        row["task"]: PublicTask(
            row["benchmark"],
            row["task"],
            row["metric"],
            float(row["perfect"]),
            float(row["chance"]),
            int(row["items"]),
            row["whole"] == "yes",
        )
        for row in rows
    }


def read_result_file(path: Path) -> ResultFile:
    """Read a result file of lmms-eval 0.5 to 0.7.

    Raises VlmatchError if it is not a result file, has no public benchmark or lacks a benchmark's metric, or if it
    has a limit and a benchmark that is only defined over all items.
    """
    plain = read_plain(path, "results", "config", "n-samples")
    config = plain["config"]
    limit = _limit(path, config.get("limit"))
    known = {task: public_tasks()[task] for task in plain["results"] if task in public_tasks()}
    skipped = tuple(sorted(set(plain["results"]) - set(known)))
    if not known:
        raise VlmatchError(
            f"'{path}' has the tasks {', '.join(skipped) or '(none)'}; wanted one or more of the public benchmarks "
            f"{', '.join(public_tasks())}"
        )
    return ResultFile(
        path,
        {task.benchmark: _benchmark(path, task, plain) for task in known.values()},
        skipped,
        limit,
        config.get("model_args") or "",
        str(plain.get("lmms_eval_version")),
    )


def require_whole(tasks: Sequence[str], limit: int | None) -> None:
    """Raise VlmatchError if there is a limit and a task whose score is only defined over all items."""
    whole = [task for task in tasks if task in public_tasks() and public_tasks()[task].whole]
    if limit is not None and whole:
        others = [task for task in tasks if task not in whole]
        alone = f", or run only the others: 'task.tasks=[{','.join(others)}]'" if others else ""
        raise VlmatchError(
            f"task.limit={limit}: the score of {' and '.join(whole)} is only defined over all items; leave the limit "
            f"out{alone}"
        )


def standard_error(score: float, items: int) -> float:
    """The largest standard error that the mean of n scores from 0 to 1 can have: sqrt(p (1 - p) / n).

    If each item is right or wrong, it is the binomial standard error. For scores between 0 and 1 it is an upper bound
    (Bhatia and Davis, 2000).
    """
    return math.sqrt(score * (1 - score) / items)


def read_plain(path: Path, *wanted: str) -> dict[str, Any]:
    """What a result file holds, unscored; `wanted` are the objects that it must have.

    Raises VlmatchError if the file can't be read or lacks one of them.
    """
    try:
        require_regular(path)
        plain = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise VlmatchError(f"'{path}' can't be read: {one_line(error)}; wanted a result file of lmms-eval") from error
    if not isinstance(plain, dict) or any(not isinstance(plain.get(key), dict) for key in wanted):
        raise VlmatchError(
            f"'{path}' is not a result file of lmms-eval: it lacks some of {', '.join(wanted)}; give a *_results.json, "
            "not a *_samples_*.jsonl"
        )
    return plain


def _limit(path: Path, limit: Any) -> int | None:
    if limit in (None, -1):
        return None
    if isinstance(limit, float) and limit.is_integer():
        limit = int(limit)
    if not isinstance(limit, int) or limit < 1:
        raise VlmatchError(
            f"'{path}' has limit={limit}; wanted a whole number of items. For a share, lmms-eval computes the number "
            "of items from the first task and uses it for all"
        )
    return limit


def _benchmark(path: Path, task: PublicTask, plain: Mapping[str, Any]) -> Benchmark:
    figures = plain["results"][task.task]
    value = figures.get(task.metric)
    if not _is_number(value):
        there = ", ".join(sorted(key for key in figures if "," in key and "_stderr" not in key))
        raise VlmatchError(
            f"'{path}': task '{task.task}' lacks the metric {task.metric}; it has {there or 'none'}; evaluate it again "
            "with lmms-eval 0.5 to 0.7"
        )
    score = value / task.perfect
    if not 0 <= score <= 1:
        raise VlmatchError(f"'{path}': task '{task.task}' has {task.metric}={value}, wanted 0 to {task.perfect:g}")
    items = plain["n-samples"].get(task.task, {})
    asked, there_are = items.get("effective"), items.get("original")
    if not _is_number(asked) or not _is_number(there_are) or asked < 1:
        raise VlmatchError(
            f"'{path}': n-samples of task '{task.task}' is {items}; wanted numbers 'effective' and 'original'"
        )
    if task.whole and asked < there_are:
        raise VlmatchError(
            f"'{path}': {asked} of {there_are} items of '{task.task}' were asked, but its score is only defined over "
            "all; evaluate it without --limit"
        )
    n = min(int(asked), task.items)
    metric, _, filter_name = task.metric.partition(",")
    stated = figures.get(f"{metric}_stderr,{filter_name}")
    error = stated / task.perfect if _is_number(stated) else standard_error(score, n)
    return Benchmark(score, error, task.chance, None, n, {})


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)
