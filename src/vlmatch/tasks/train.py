"""Train: a VLM of one encoder, one LLM and one recipe, or what is left of its training, and measure it."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from omegaconf import DictConfig
from torch import Tensor

from vlmatch.embeddings.store import Store
from vlmatch.encoders.base import Encoder
from vlmatch.objects import build, plain, task
from vlmatch.probes.items import Item
from vlmatch.processes import process_rank
from vlmatch.results import BLIND
from vlmatch.tasks.evaluate import has_result, measurable, measure
from vlmatch.tracking import Tracker
from vlmatch.vlm.budget import require_projector
from vlmatch.vlm.building import build_vlm, feature_shape
from vlmatch.vlm.features import cached_features
from vlmatch.vlm.fit import Training
from vlmatch.vlm.model import VLM
from vlmatch.vlm.runs import TRACKED, VLM_FOLDER, Run, finished, tracked
from vlmatch.vlm.training_data import DataContext, a_picture
from vlmatch.vlm.training_log import TrainingLog


@task
def train(config: DictConfig) -> None:
    """Train and measure what `encoder`, `llm` and `recipe` say; before it, the blind model where there is none.

    What has finished is not done again, and a training that was killed goes on.
    """
    run = Run(plain(config.encoder), plain(config.llm), plain(config.recipe))
    if config.task.blind is not None and run.encoder["name"] != BLIND and measurable(run):
        _train(config, Run(plain(config.task.blind), run.llm, {**run.recipe, "seed": 0}))
    _train(config, run)


def _train(config: DictConfig, run: Run) -> None:
    folder = run.claim(Path(config.task.runs))
    measured = has_result(config, folder) or not (config.task.measure and measurable(run))
    if finished(folder) and measured:
        print(f"{run.name}: done before")
        return
    if process_rank() > 0:  # one of several processes: no run of its own in MLflow, no measurement
        _fit(config, run, folder, logger=False)
        return
    tracker = Tracker.of(config)
    parent = tracker.parent(run.parent, run.parent_tags)
    with tracker.run(run.name, run.tags, parent, again=tracked(folder)) as run_id:
        (folder / TRACKED).write_text(run_id)
        tracker.log_config(run_id, config)
        log = finished(folder) or _fit(config, run, folder, logger=tracker.lightning_logger(run_id))
        print(f"{run.name}: {log.steps} steps in {log.seconds:.0f} s, loss {log.loss_at(log.steps):.3f}")
        if config.task.measure and measurable(run):
            measure(config, run, folder, log, tracker, run_id)


def _fit(config: DictConfig, run: Run, folder: Path, logger: Any) -> TrainingLog:
    """Build the VLM and its data, and train."""
    trainer, cached = plain(config.trainer), run.recipe["visual"]["cached"]
    store = Store(config.store)
    llm = build(run.llm)
    encoder: Encoder | None = None if cached else build(run.encoder)

    def features(items: Sequence[Item]) -> Tensor:
        return cached_features(items, run.encoder, store, trainer)[0]

    context = DataContext(llm.tokenizer, encoder, features)
    datasets = [build(stage["data"]).load(context) for stage in run.recipe["stages"]]
    picture = a_picture(datasets)
    shape = (
        (picture.shape[0], picture.shape[1])
        if encoder is None
        else feature_shape(encoder, run.recipe["visual"]["what"])
    )
    require_projector(shape[1], llm.causal_lm.get_input_embeddings().weight.shape[1], run.recipe["projector"], trainer)
    vlm: VLM = build_vlm(run.recipe, llm, encoder, shape)
    return Training(vlm, {**run.about, "shape": list(shape)}, folder / VLM_FOLDER, trainer, logger).fit(datasets)
