"""The configs of the tasks that train, measure and collect, with all that is large made small."""

import shutil
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from omegaconf import DictConfig

from vlmatch.configs import composed
from vlmatch.machine import waiting
from vlmatch.vlm.runs import Run


def config(home: Path, task: str, *overrides: str) -> DictConfig:
    """A config in which everything is small and lies below `home`."""
    settings = [
        f"task={task}",
        "encoder=pixels16",
        "llm.name=tiny",
        f"llm.repository={home / 'llm'}",
        f"store={home / 'store'}",
        f"results={home / 'results'}",
        f"tracking.folder={home / 'mlruns'}",
        f"task.runs={home / 'runs'}",
        "~split",
        f"+split={{_target_: vlm.made_split.made_split, folder: {home / 'drawn'}}}",
        "benchmark.group=3",
        "benchmark.hard_group=2",
        "benchmark.course=0.5",
        "~benchmark.sources",
        "+benchmark.sources={made: {items: 24, of_category: 12}}",
        *overrides,
    ]
    if task in ("train", "evaluate"):
        settings += ["recipe.stages.0.steps=16", "recipe.stages.0.batch_size=4", "recipe.llm_dtype=float32"]
    return composed(*settings)


@contextmanager
def trained_elsewhere(run: Run, runs: Path, finished: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Another thread holds a run in `runs` until somebody waits for it, and then has trained it.

    finished: the folder of the same run as it is after the training.
    """
    held, waited_for, said = threading.Event(), threading.Event(), waiting._say

    def say(line: str) -> None:
        said(line)
        if run.name in line:
            waited_for.set()

    def train() -> None:
        with run.held(runs) as folder:
            held.set()
            waited_for.wait(60)
            shutil.copytree(finished, folder, dirs_exist_ok=True)

    monkeypatch.setattr(waiting, "SECONDS", 0.1)
    monkeypatch.setattr(waiting, "_say", say)
    thread = threading.Thread(target=train)
    thread.start()
    held.wait(60)
    try:
        yield
    finally:
        waited_for.set()
        thread.join()
