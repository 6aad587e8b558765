"""Evaluate: measure a trained VLM on the benchmarks, at the milestones and at the end of its training."""

import os
import platform
import time
from collections.abc import Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

from torch import Tensor

from vlmatch import paths
from vlmatch.benchmarks.measurement import Measurement
from vlmatch.benchmarks.suite import BenchmarkSuite
from vlmatch.embeddings.header import Header
from vlmatch.embeddings.store import Store
from vlmatch.errors import VlmatchError
from vlmatch.evidence.truths import Setting
from vlmatch.llms.language_model import LanguageModel
from vlmatch.machine.waiting import waiting
from vlmatch.objects import task
from vlmatch.probes.items import Item, Split
from vlmatch.results import (
    LIKELIHOODS,
    RESULT,
    Milestone,
    RecipeId,
    Result,
    Seconds,
    Visual,
    read_file,
    write_file,
)
from vlmatch.settings.buildable import BenchmarkSettings, LlmSettings
from vlmatch.settings.command import Settings
from vlmatch.settings.tasks import EvaluateTask
from vlmatch.tracking.tracker import Tracker
from vlmatch.vlm.features import cached_features
from vlmatch.vlm.fit import FINAL, MILESTONES, data_of
from vlmatch.vlm.milestones import milestone_steps
from vlmatch.vlm.runs import VLM_FOLDER, Run, finished, precision_of, tracked
from vlmatch.vlm.saved import load_vlm
from vlmatch.vlm.training_log import TrainingLog

LIBRARIES = ("torch", "transformers", "pytorch-lightning", "peft")


@task
def evaluate(settings: Settings[EvaluateTask]) -> None:
    """Measure the finished training of `encoder`, `llm` and `recipe`, even if it has been measured before.

    With `task.apart`, the result is written below that folder, and nothing is measured if it is there already.
    """
    run, apart = Run(settings.encoder, settings.llm, settings.recipe), _apart(settings.task)
    with nullcontext(run.claim(settings.task.runs)) if apart else run.held(settings.task.runs) as folder:
        _evaluate(settings, run, folder, apart)


def _evaluate(settings: Settings[EvaluateTask], run: Run, folder: Path, apart: Path | None) -> None:
    if not measurable(run):
        raise VlmatchError(
            f"recipe={run.recipe.name} has no recipe.prompts, which the benchmarks need; use task=public"
        )
    log = finished(folder)
    if log is None:
        raise VlmatchError(f"'{folder}' has no finished training; run task=train with the same settings")
    tracker = Tracker.of(settings.tracking)
    if apart is not None and has_result(settings.benchmark, apart / run.name):
        print(f"{run.name}: already measured; its result is in '{apart}'")
        return
    parent = tracker.parent(run.parent, run.parent_tags | _of_suite(settings, apart))
    again = tracked(folder) if apart is None else None
    with tracker.run(run.name, run.tags | _of_suite(settings, apart), parent, again=again) as run_id:
        measure(settings, run, folder, log, tracker, run_id, apart)


def _apart(task: EvaluateTask) -> Path | None:
    """The folder for results apart from the runs. Raises VlmatchError if it lies inside the folder of the runs."""
    apart, runs = task.apart, task.runs
    if apart is not None and apart.resolve().is_relative_to(runs.resolve()):
        raise VlmatchError(
            f"task.apart='{apart}' lies in task.runs='{runs}', where task=collect would take its results for "
            "trainings; give a folder beside it"
        )
    return apart


def _of_suite(settings: Settings[Any], apart: Path | None) -> dict[str, str]:
    """The additional MLflow tags of results that are kept apart; results of trainings have none."""
    return {} if apart is None else {"task": f"evaluate {settings.benchmark.name}"}


def has_result(benchmark: BenchmarkSettings, folder: Path) -> bool:
    """Whether the run in `folder` has been measured by this suite, in its present version."""
    path = folder / RESULT
    return path.is_file() and read_file(path).suite.is_of(benchmark.name, benchmark.version)


def collected(settings: Settings[Any], run: Run) -> Path | None:
    """The file in the folder `results` that holds this run's result by this recipe and suite; None if there is none."""
    path = paths.results(settings.results) / f"{run.name}.json"
    if not path.is_file():
        return None
    result, suite = read_file(path), settings.benchmark
    same = result.recipe.fingerprint == run.recipe_fingerprint and result.suite.is_of(suite.name, suite.version)
    return path if same else None


def measurable(run: Run) -> bool:
    """Whether the benchmarks can be asked: they need the prompts of the recipe."""
    return bool(run.recipe.prompts)


def measure_milestone(settings: Settings[Any], run: Run, folder: Path, step: int) -> Measurement:
    """Measure the VLM that the training in `folder` saved at a milestone, on the fraction `course` of the groups.

    Raises VlmatchError if that VLM is missing or was trained on another split, or if the suite has no `course`.
    """
    questions = _Questions.of(settings, run)
    _require_split(folder / VLM_FOLDER, questions)
    saved = folder / VLM_FOLDER / MILESTONES / str(step)
    fraction = questions.suite.course
    if fraction is None:
        raise VlmatchError(
            f"benchmark={questions.suite.name} measures no milestones (benchmark.course=null); give the fraction of "
            "pictures that is measured there, such as benchmark.course=0.25"
        )
    return questions.asked_of(_exact(run).build(), saved, run, fraction)


def measure(
    settings: Settings[Any],
    run: Run,
    folder: Path,
    log: TrainingLog,
    tracker: Tracker,
    run_id: str,
    apart: Path | None = None,
) -> None:
    """Measure the VLM in `folder` by the suite of `benchmark`; write result and likelihoods, log and print.

    apart: the folder below which result and likelihoods are written, at the path of the run; None: into `folder`.
    """
    started = time.perf_counter()
    questions = _Questions.of(settings, run)
    earlier, final = _measurements(run, folder / VLM_FOLDER, log, questions)
    result = _result(run, folder, log, questions, earlier, final, time.perf_counter() - started)
    kept = folder if apart is None else apart / run.name
    kept.mkdir(parents=True, exist_ok=True)
    (kept / RESULT).unlink(missing_ok=True)  # it must not stand beside the likelihoods of another measurement
    final.keep(kept / LIKELIHOODS)
    write_file(kept / RESULT, result)
    tracker.log_result(run_id, result)
    every = [read_file(path) for path in run.results_of_all_seeds(apart or settings.task.runs)]
    seeds = [found for found in every if Setting.of(found) == Setting.of(result)]  # others need task=evaluate again
    tracker.log_seeds(tracker.parent(run.parent, run.parent_tags | _of_suite(settings, apart)), seeds)
    groups = ", ".join(f"{name} {group.score:z.3f}" for name, group in result.groups.items())
    print(f"{run.name}: mean {result.mean.score:z.3f} +- {result.mean.standard_error:.3f} ({groups})")


@dataclass(frozen=True)
class _Questions:
    """What a VLM is asked: a suite's items with their features (n, t, d), and the categories to choose from.

    header: of the features' embeddings. trained: the fingerprint of the split that VLMs are trained on. split: the
    fingerprint of the split that the items are taken from.
    """

    suite: BenchmarkSuite
    items: Sequence[Item]
    features: Tensor
    categories: Sequence[str]
    header: Header
    trained: str
    split: str

    @classmethod
    def of(cls, settings: Settings[Any], run: Run) -> "_Questions":
        split: Split = settings.split.build()
        suite: BenchmarkSuite = settings.benchmark.build()
        source = suite.split_of_pictures(split)
        items, pictures = suite.items(source), source.share(suite.share)
        features, header = cached_features(pictures, run.encoder, Store(settings.store), settings.trainer)
        row = {item.id: number for number, item in enumerate(pictures)}
        categories = suite.categories or sorted(
            {item.category for item in split.share(run.recipe.data) if item.category}
        )
        asked = features[[row[item.id] for item in items]]
        return cls(suite, items, asked, categories, header, split.fingerprint, source.fingerprint)

    def asked_of(self, llm: LanguageModel, folder: Path, run: Run, fraction: float) -> Measurement:
        """The scores of the VLM in `folder` on a fraction of the groups of pictures. llm: its LLM."""
        vlm = load_vlm(folder, llm=llm)
        what = f"the benchmarks of '{folder}'"
        with waiting(
            what, f"they ask about {len(self.items)} pictures" if fraction == 1 else f"{fraction:.0%} of them are asked"
        ):
            return self.suite.evaluate(vlm, self.features, self.items, self.categories, run.recipe.prompts, fraction)


def _measurements(
    run: Run, saved: Path, log: TrainingLog, questions: _Questions
) -> tuple[tuple[Milestone, ...], Measurement]:
    """The milestones of the training in `saved`, measured over a fraction of the groups, and the final measurement.

    Raises VlmatchError if the VLM was trained on another split than the questions': it may have seen their pictures.
    """
    _require_split(saved, questions)
    exact = _exact(run)
    shared = None if run.recipe.lora else exact.build()  # adapters would be added to the shared LLM

    def measured(folder: Path, fraction: float) -> Measurement:
        return questions.asked_of(shared or exact.build(), folder, run, fraction)

    fraction = questions.suite.course
    earlier = tuple(
        Milestone(step, log.loss_at(step), measured(saved / MILESTONES / str(step), fraction).mean.score)
        for step in milestone_steps(log.steps)
        if fraction is not None
    )
    return earlier, measured(saved / FINAL, 1.0)


def _exact(run: Run) -> LlmSettings:
    """The run's LLM in float32. In bfloat16, likelihoods depend on the batch, so a blind VLM would not be at chance."""
    return run.llm.changed(dtype="float32")


def _require_split(saved: Path, questions: _Questions) -> None:
    """Raise VlmatchError if the VLM in `saved` was trained on another split than the questions'."""
    data = data_of(saved)
    if data is not None and questions.trained not in data:
        raise VlmatchError(
            f"'{saved}' was trained on another split than the benchmarks use, so it may have seen their pictures; "
            "remove the folder and train again, or give another: task.runs=..."
        )


def _result(
    run: Run,
    folder: Path,
    log: TrainingLog,
    questions: _Questions,
    earlier: tuple[Milestone, ...],
    final: Measurement,
    seconds: float,
) -> Result:
    header, (_, cells, width) = questions.header, questions.features.shape
    recipe, loss = run.recipe, log.loss_at(log.steps)
    return Result(
        encoder=header.spec.model,
        llm=run.llm.name,
        data=recipe.data,
        seed=recipe.seed,
        control=header.control,
        recipe=RecipeId(recipe.name, recipe.version, run.recipe_fingerprint),
        visual=Visual(header.rule, width, cells * recipe.projector.tokens, header.weights_sha256),
        split=questions.split,
        suite=final.suite,
        benchmarks=final.benchmarks,
        groups=final.groups,
        mean=final.mean,
        milestones=(*earlier, Milestone(log.steps, loss, final.mean.score)),
        steps=log.steps,
        loss=loss,
        seconds=Seconds(log.seconds, seconds),
        peak_bytes=log.peak_bytes,
        config=recipe.fixed(),
        machine=_machine(),
        libraries={library: version(library) for library in LIBRARIES},
        source="trained here",
        dtype=run.llm.dtype,
        precision=precision_of(folder),
        commit=paths.commit(),
    )


def _machine() -> str:
    """The machine that the run used, in words."""
    import torch

    if torch.cuda.is_available():
        return f"{torch.cuda.device_count()} x {torch.cuda.get_device_name()}"
    capability = torch.backends.cpu.get_cpu_capability()
    return f"{os.cpu_count()} CPU cores ({platform.machine()}, {capability}), {torch.get_num_threads()} threads"
