"""Evaluate: measure a trained VLM on the benchmarks, now and at the milestones of its training."""

import os
import platform
import time
from collections.abc import Sequence
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

from omegaconf import DictConfig
from torch import Tensor

from vlmatch.benchmarks.measured import Measured
from vlmatch.benchmarks.suite import Suite
from vlmatch.embeddings.header import Header
from vlmatch.embeddings.store import Store
from vlmatch.errors import VlmatchError
from vlmatch.objects import build, plain
from vlmatch.probes.split import Item, Split
from vlmatch.results import Result, parsed, read_file, write_file
from vlmatch.tracking import Tracker
from vlmatch.vlm.course import Fitted, milestones
from vlmatch.vlm.features import features_of
from vlmatch.vlm.fit import COURSE, FINAL
from vlmatch.vlm.runs import RESULT, VLM_FOLDER, Run, finished, tracked
from vlmatch.vlm.saved import load

PART = 0.25  # of the items, for the milestones of a training
LIBRARIES = ("torch", "transformers", "pytorch-lightning", "peft")


def evaluate(config: DictConfig) -> None:
    """Measure the finished training of `encoder`, `llm` and `recipe` again."""
    run = Run(plain(config.encoder), plain(config.llm), plain(config.recipe))
    folder = run.claim(Path(config.task.runs))
    if not measurable(run):
        raise VlmatchError(
            f"recipe={run.recipe['name']} has no `prompts` to ask the benchmarks with; measure it by lmms-eval"
        )
    fitted = finished(folder)
    if fitted is None:
        raise VlmatchError(f"{run.name}: no finished training in '{folder}'; run task=train with the same settings")
    tracker = Tracker.of(config)
    parent = tracker.parent(run.parent, run.parent_tags)
    with tracker.run(run.name, run.tags, parent, again=tracked(folder)) as run_id:
        measure(config, run, folder, fitted, tracker, run_id)


def measurable(run: Run) -> bool:
    """Whether the benchmarks can be asked: they need the prompts that the recipe trained with."""
    return bool(run.recipe.get("prompts"))


def measure(config: DictConfig, run: Run, folder: Path, fitted: Fitted, tracker: Tracker, run_id: str) -> None:
    """Measure the VLM in `folder` on the suite of this config, write result.json there, log it, and say how it went."""
    started = time.perf_counter()
    questions = _Questions.of(config, run)
    allowed = tuple(config.targets)
    llm = None if run.recipe["lora"] else build(run.llm, allowed=allowed)  # adapters are put into the LLM itself

    def measured(of: Path, part: float) -> Measured:
        vlm = load(of, llm=llm, allowed=allowed)
        suite, asked = questions.suite, (questions.features, questions.items, questions.categories)
        return suite.evaluate(vlm, *asked, run.recipe["prompts"], part)

    on_the_way = {step: folder / VLM_FOLDER / COURSE / str(step) for step in milestones(fitted.steps)}
    course = [
        {"step": step, "loss": fitted.loss_at(step), "mean": measured(path, PART).mean}
        for step, path in on_the_way.items()
    ]
    final = measured(folder / VLM_FOLDER / FINAL, 1.0)
    result = _result(run, fitted, questions, course, final, time.perf_counter() - started)
    write_file(folder / RESULT, result)
    tracker.log_result(run_id, result)
    seeds = [read_file(path) for path in run.results_of_all_seeds(Path(config.task.runs))]
    tracker.log_seeds(tracker.parent(run.parent, run.parent_tags), seeds)
    groups = ", ".join(f"{name} {group.score:.3f}" for name, group in result.groups.items())
    print(f"{run.name}: mean {result.mean.score:.3f} +- {result.mean.standard_error:.3f} ({groups})")


@dataclass(frozen=True)
class _Questions:
    """What a VLM is asked: the suite, its items with their features (n, t, d), and the categories to choose from."""

    suite: Suite
    items: Sequence[Item]
    features: Tensor
    categories: Sequence[str]
    header: Header
    split: str

    @classmethod
    def of(cls, config: DictConfig, run: Run) -> "_Questions":
        allowed = tuple(config.targets)
        split: Split = build(plain(config.split), allowed=allowed)
        suite: Suite = build(plain(config.benchmark), allowed=allowed)
        items, pictures = suite.items(split), split.share(suite.share)
        features, header = features_of(pictures, run.encoder, Store(config.store), plain(config.trainer), allowed)
        row = {item.id: number for number, item in enumerate(pictures)}
        categories = sorted({item.category for item in split.share(run.recipe["data"]) if item.category})
        asked = features[[row[item.id] for item in items]]
        return cls(suite, items, asked, categories, header, split.fingerprint)


def _result(
    run: Run, fitted: Fitted, questions: _Questions, course: list[dict[str, Any]], final: Measured, seconds: float
) -> Result:
    header, (_, cells, width) = questions.header, questions.features.shape
    figures = final.to_json()
    loss = fitted.loss_at(fitted.steps)
    last = {"step": fitted.steps, "loss": loss, "mean": figures["mean"]["score"]}
    return parsed(
        {
            "encoder": header.recipe.model,
            "llm": run.llm["name"],
            "data": run.recipe["data"],
            "seed": run.recipe["seed"],
            "control": header.control,
            "recipe": {
                "name": run.recipe["name"],
                "version": run.recipe["version"],
                "fingerprint": run.recipe_fingerprint,
            },
            "visual": {
                "rule": header.rule,
                "dimension": width,
                "tokens": cells * run.recipe["projector"]["tokens"],
                "weights_sha256": header.weights_sha256,
            },
            "split": questions.split,
            **figures,
            "course": [*course, last],
            "steps": fitted.steps,
            "loss": loss,
            "seconds": {"train": fitted.seconds, "evaluate": seconds},
            "peak_bytes": fitted.peak_bytes,
            "config": run.fixed_recipe,
            "machine": _machine(),
            "libraries": {library: version(library) for library in LIBRARIES},
            "source": "trained here",
        }
    )


def _machine() -> str:
    """What the run ran on, in words."""
    import torch

    if torch.cuda.is_available():
        return f"{torch.cuda.device_count()} x {torch.cuda.get_device_name()}"
    capability = torch.backends.cpu.get_cpu_capability()
    return f"{os.cpu_count()} CPU cores ({platform.machine()}, {capability}), {torch.get_num_threads()} threads"
