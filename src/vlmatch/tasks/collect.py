"""Collect: copy the result of every finished training to the folder of results, and show what is new."""

import shutil
from collections import Counter
from pathlib import Path

from rich.box import SIMPLE_HEAD
from rich.table import Table

from vlmatch import paths
from vlmatch.errors import VlmatchError
from vlmatch.files import renamed
from vlmatch.objects import task
from vlmatch.replaced import keep_aside
from vlmatch.report.evidence import bare
from vlmatch.report.table import say, terminal
from vlmatch.results import LIKELIHOODS, RESULT, Result, read, read_file, rendered, write
from vlmatch.settings.command import Settings
from vlmatch.settings.tasks import CollectTask

NEW, KEPT, REPLACED, REFUSED, OTHER = "new", "as before", "replaced", "not taken", "of another suite"


@task
def collect(settings: Settings[CollectTask]) -> None:
    """Copy the result and the likelihoods of every run below `task.runs` to the folder `results`.

    A run is not copied if it was measured by another suite than `benchmark`, or if `results` already has another result
    of it. That other result is replaced if recipe or suite have a newer version and neither has an older one, or with
    `task.replace=true`; it is then kept, with its likelihoods, in the folder `replaced` of `results`.

    Raises VlmatchError before anything is written if no run is finished, if a run has no likelihoods, or if two folders
    hold different results of the same run. Raises it after all copies if `results` has another result of a run, or if a
    run of this recipe was measured by another suite.
    """
    runs, folder = settings.task.runs, paths.results(settings.results)
    found = _finished(runs)
    before = {result.run: result for result in read(folder)}
    otherwise = REPLACED if settings.task.replace else REFUSED
    suite = settings.benchmark.name, settings.benchmark.version
    statuses = {
        run: _status(result, before.get(run), otherwise) if result.suite.is_of(*suite) else OTHER
        for run, (_, result) in found.items()
    }
    for run, status in statuses.items():
        if status in (NEW, REPLACED):
            path, result = found[run]
            keep_aside(folder, run)
            with renamed((folder / run).with_suffix(".npz")) as temporary:
                shutil.copyfile(path.with_name(LIKELIHOODS), temporary)
            write(folder, result)
    _show({run: result for run, (_, result) in found.items()}, statuses, folder)
    if refused := [run for run, status in statuses.items() if status == REFUSED]:
        raise VlmatchError(
            f"{len(refused)} of {len(found)} runs in '{runs}' were not copied, because '{folder}' holds other results "
            f"of them (first: {refused[0]}); replace those by task.replace=true, or remove the runs"
        )
    of_recipe = {run for run, (_, result) in found.items() if result.recipe.name == settings.recipe.name}
    if others := [run for run, status in statuses.items() if status == OTHER and run in of_recipe]:
        raise VlmatchError(
            f"{len(others)} of {len(found)} runs in '{runs}' were not copied, because they were measured by other "
            f"benchmarks than '{suite[0]}' version {suite[1]} (first: {others[0]}); measure them again by task=evaluate"
        )


def _finished(runs: Path) -> dict[Path, tuple[Path, Result]]:
    """The file and result of every finished run, by the run's path below `results`, sorted by this path."""
    found: dict[Path, tuple[Path, Result]] = {}
    for path in sorted(runs.rglob(RESULT)):
        result = read_file(path)
        if not path.with_name(LIKELIHOODS).is_file():
            raise VlmatchError(f"'{path.parent}' has a result but no {LIKELIHOODS}; measure it again by task=evaluate")
        other = found.get(result.run)
        if other is not None and rendered(other[1]) != rendered(result):
            raise VlmatchError(
                f"'{other[0]}' and '{path}' are different results of the same run {result.run}; remove one"
            )
        found[result.run] = path, result
    if not found:
        raise VlmatchError(f"task.runs='{runs}': no run below it is finished (RUN/{RESULT}); run task=train first")
    return {run: found[run] for run in sorted(found)}


def _status(result: Result, before: Result | None, otherwise: str) -> str:
    if before is None:
        return NEW
    if rendered(result) == rendered(before):
        return KEPT
    changes = result.recipe.version - before.recipe.version, result.suite.version - before.suite.version
    newer = result.suite.name == before.suite.name and min(changes) >= 0 and max(changes) > 0
    return REPLACED if newer else otherwise


def _show(found: dict[Path, Result], statuses: dict[Path, str], folder: Path) -> None:
    table = Table(box=SIMPLE_HEAD, pad_edge=False)
    for head in ("recipe", "llm", "data", "encoder"):
        table.add_column(head, no_wrap=True)
    for head in ("seed", "mean", "std. error"):
        table.add_column(head, justify="right")
    table.add_column("")
    for run, result in found.items():
        names = f"{result.recipe.name} {result.recipe.version}", result.llm, result.data, result.encoder
        figures = str(result.seed), bare(result.mean.score, 3), bare(result.mean.standard_error, 3)
        table.add_row(*names, *figures, statuses[run], style="dim" if statuses[run] == KEPT else "")
    console = terminal()
    console.print(table)
    count = Counter(statuses.values())
    shown = [status for status in (NEW, REPLACED, REFUSED, OTHER, KEPT) if count[status] or status != OTHER]
    counts = ", ".join(f"{count[status]} {status}" for status in shown)
    say(f"{len(found)} runs: {counts}; {folder}", console=console)
