"""Import: result files of lmms-eval become one result in the folder of results, and a run in MLflow."""

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from statistics import fmean
from typing import Any

from vlmatch import paths
from vlmatch.benchmarks.lmms_results import VERSION, ResultFile, read_result_file
from vlmatch.errors import VlmatchError, shown
from vlmatch.objects import task
from vlmatch.replaced import write_keeping
from vlmatch.results import (
    Benchmark,
    Estimate,
    Group,
    RecipeId,
    Result,
    Seconds,
    SuiteId,
    Visual,
    above_chance,
    read_file,
)
from vlmatch.settings.command import Settings
from vlmatch.settings.tasks import ImportTask
from vlmatch.tracking.tracker import Tracker

SUITE = "public"
IMPORTED = "imported: "
NEEDED = ("encoder", "llm", "data", "recipe")
ASSUMED = {"seed": 0, "version": 1, "control": False, "fingerprint": "unknown", "visual": None}


@task
def import_results(settings: Settings[ImportTask]) -> None:
    """Read the files of `task.file`, write their result to `results` and log it; print the tasks that are left out.

    An earlier imported result of the same run is kept, in the folder `replaced` of `results`.
    """
    told = settings.task.model_dump(include={*NEEDED, "seed", "version", "control"})
    files = [read_result_file(path) for path in _paths(settings.task.file)]
    result = result_of(files, told)
    folder = paths.results(settings.results)
    for each in paths.result_folders(folder):
        _require_free(each / result.run)
    for file in files:
        for name in file.skipped:
            print(f"{file.path.name}: task '{name}' is not one of the public benchmarks and is left out")
    tracker = Tracker.of(settings.tracking)
    path = write_keeping(folder, result)
    recipe = f"{result.recipe.name} v{result.recipe.version}"
    named = {"encoder": result.encoder, "llm": result.llm, "data": result.data, "recipe": recipe}
    with tracker.run(str(result.run.with_suffix("")), {"task": "import", "seed": str(result.seed), **named}) as run_id:
        tracker.log_config(run_id, settings.config)
        tracker.log_result(run_id, result)
        for file in files:
            tracker.log_file(run_id, file.path)
    print(f"{path}: " + ", ".join(f"{name} {100 * each.score:.1f}" for name, each in result.benchmarks.items()))


def result_of(files: Sequence[ResultFile], told: Mapping[str, Any]) -> Result:
    """One result from files about one VLM. told: what the command line says about the VLM; None where it says nothing.

    Raises VlmatchError if the files differ in the model, the limit or lmms-eval's version, if two of them hold the same
    benchmark, or if neither they nor `told` name the VLM's encoder, LLM, data and recipe.
    """
    for field in ("limit", "version", "model"):
        _require_same(files, field)
    named = _named(files[0], told)
    benchmarks: dict[str, Benchmark] = {}
    for file in files:
        if twice := sorted(set(benchmarks) & set(file.benchmarks)):
            raise VlmatchError(f"'{file.path}' and another file of task.file both hold {twice[0]}; give one of them")
        benchmarks |= file.benchmarks
    group = group_of(benchmarks)
    return Result(
        encoder=str(named["encoder"]),
        llm=str(named["llm"]),
        data=str(named["data"]),
        seed=int(named["seed"]),
        control=bool(named["control"]),
        recipe=RecipeId(str(named["recipe"]), int(named["version"]), str(named["fingerprint"])),
        visual=Visual(
            **(named["visual"] or dict.fromkeys(("dimension", "tokens", "weights_sha256")) | {"rule": "unknown"})
        ),
        split="none",
        suite=SuiteId(SUITE, VERSION, sum(each.n for each in benchmarks.values())),
        benchmarks=benchmarks,
        groups={SUITE: group},
        mean=Estimate(group.score, group.standard_error),
        milestones=(),
        steps=None,
        loss=None,
        seconds=Seconds(None, None),
        peak_bytes=None,
        config={"limit": files[0].limit},
        machine="unknown",
        libraries={"lmms-eval": str(named.get("lmms_eval", files[0].version))},
        source=IMPORTED + ", ".join(sorted(file.path.name for file in files)),
    )


def group_of(benchmarks: Mapping[str, Benchmark]) -> Group:
    """All benchmarks as one group, in which each has the same weight, as in the papers' means."""
    names = tuple(sorted(benchmarks))
    scale = {name: 1 - (benchmarks[name].chance or 0.0) for name in names}
    gains = [above_chance(benchmarks[name].score, benchmarks[name].chance) for name in names]
    squares = [(benchmarks[name].standard_error / scale[name]) ** 2 for name in names]
    return Group(fmean(gains), math.sqrt(sum(squares)) / len(names), names)


def _paths(given: str | Sequence[str] | None) -> list[Path]:
    """The files of `task.file`: one, a list, or all *results.json of a folder."""
    if not given:
        raise VlmatchError(
            f"task.file={shown(given)}, wanted result files of lmms-eval; give task.file=FILE, [FILE,FILE] or FOLDER"
        )
    found = []
    for path in (Path(each).expanduser() for each in ([given] if isinstance(given, str) else given)):
        inside = sorted(path.rglob("*results.json")) if path.is_dir() else [path]
        if not inside:
            raise VlmatchError(f"task.file='{path}': no *results.json in this folder")
        found += inside
    return found


def _named(file: ResultFile, told: Mapping[str, Any]) -> dict[str, Any]:
    """The VLM's settings: from the file (those of task=public have them), as told, else as in `ASSUMED`."""
    said = dict(file.model) if isinstance(file.model, Mapping) else {}
    given = {key: value for key, value in told.items() if value is not None}
    for key in given.keys() & said.keys():
        if given[key] != said[key]:
            raise VlmatchError(f"task.{key}={given[key]}, but '{file.path}' says {said[key]}; leave task.{key} out")
    named = {**ASSUMED, **said, **given}
    if missing := [key for key in NEEDED if key not in named]:
        wanted = " ".join(f"task.{key}=NAME" for key in missing)
        raise VlmatchError(f"'{file.path}' doesn't name the {missing[0]} of its VLM; give {wanted}")
    return named


def _require_same(files: Sequence[ResultFile], field: str) -> None:
    first = getattr(files[0], field)
    for file in files[1:]:
        if getattr(file, field) != first:
            raise VlmatchError(
                f"task.file: '{files[0].path}' has {field} {first}, but '{file.path}' has {getattr(file, field)}; "
                "one result needs the same in all files: import the others separately, with another task.recipe"
            )


def _require_free(path: Path) -> None:
    if path.is_file() and not read_file(path).source.startswith(IMPORTED):
        raise VlmatchError(f"'{path}' holds the result of a training; import with another name: task.recipe=...")
