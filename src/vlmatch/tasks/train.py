"""Train: train a VLM of one encoder, one LLM and one recipe, or continue its training, then measure it."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from torch import Tensor

from vlmatch.embeddings.store import Store
from vlmatch.encoders.base import Encoder
from vlmatch.files import write_text
from vlmatch.llms.language_model import LanguageModel
from vlmatch.machine.processes import process_rank
from vlmatch.machine.waiting import waiting
from vlmatch.objects import task
from vlmatch.probes.items import Item
from vlmatch.results import BLIND
from vlmatch.settings.command import Settings
from vlmatch.settings.tasks import TrainTask
from vlmatch.tasks.evaluate import collected, has_result, measurable, measure
from vlmatch.tracking.tracker import Tracker
from vlmatch.vlm.building import build_vlm, feature_shape
from vlmatch.vlm.features import cached_features
from vlmatch.vlm.fit import Training
from vlmatch.vlm.runs import TRACKED, VLM_FOLDER, Run, finished, tracked
from vlmatch.vlm.training_data import DataContext, TrainingData, a_picture
from vlmatch.vlm.training_log import TrainingLog
from vlmatch.vlm.training_memory import require_projector


@task
def train(settings: Settings[TrainTask]) -> None:
    """Train and measure a VLM of `encoder`, `llm` and `recipe`; first the blind model, if there is none yet.

    A finished training is not repeated, and one that was killed continues.
    """
    precision, blind = str(settings.trainer.precision), settings.task.blind
    run = Run(settings.encoder, settings.llm, settings.recipe, precision)
    if settings.task.measure and measurable(run):
        settings.require("split", "benchmark")
    if blind is not None and run.encoder.name != BLIND and measurable(run):
        _train(settings, Run(blind, run.llm, run.recipe.changed(seed=0), precision))
    _train(settings, run)


def _train(settings: Settings[TrainTask], run: Run) -> None:
    if settings.task.skip_collected and (path := collected(settings, run)):
        print(f"{run.name}: its result is already in '{path}'")
        return
    with run.held(settings.task.runs) as folder:
        _trained(settings, run, folder)


def _trained(settings: Settings[TrainTask], run: Run, folder: Path) -> None:
    """Train and measure a run in its folder, which this process holds, as far as that is not done yet."""
    measures = settings.task.measure and measurable(run)
    if finished(folder) and (not measures or has_result(settings.benchmark, folder)):
        print(f"{run.name}: already trained and measured" if measures else f"{run.name}: already trained")
        return
    if process_rank() > 0:  # of several processes, only the first has a run in MLflow and measures
        _fit(settings, run, folder, logger=False)
        return
    tracker = Tracker.of(settings.tracking)
    parent = tracker.parent(run.parent, run.parent_tags)
    with tracker.run(run.name, run.tags, parent, again=tracked(folder)) as run_id:
        write_text(folder / TRACKED, run_id)
        tracker.log_config(run_id, settings.config)
        log = finished(folder) or _fit(settings, run, folder, logger=tracker.lightning_logger(run_id))
        print(f"{run.name}: {log.steps} steps in {log.seconds:.0f} s, loss {log.loss_at(log.steps):.3f}")
        if measures:
            measure(settings, run, folder, log, tracker, run_id)


def _fit(settings: Settings[TrainTask], run: Run, folder: Path, logger: Any) -> TrainingLog:
    training, datasets = prepared(settings, run, folder, logger)
    return training.fit(datasets)


def prepared(settings: Settings[Any], run: Run, folder: Path, logger: Any) -> tuple[Training, list[TrainingData]]:
    """The training of a run in its folder, and the data of each stage: the VLM is built, and nothing is trained yet.

    logger: Lightning's, or False.
    """
    store, trainer, recipe = Store(settings.store), settings.trainer, run.recipe
    llm: LanguageModel = run.llm.build()
    encoder: Encoder | None = None if recipe.visual.cached else run.encoder.build()

    def features(items: Sequence[Item]) -> Tensor:
        return cached_features(items, run.encoder, store, trainer)[0]

    context = DataContext(llm.tokenizer, encoder, features)
    with waiting(f"the training data of {run.name}", "they are read, and embedded where they are not stored"):
        datasets = [stage.data.build().load(context) for stage in recipe.stages]
    picture = a_picture(datasets)
    shape = picture.shape[:2] if encoder is None else feature_shape(encoder, recipe.visual.what)
    require_projector(shape[1], llm.causal_lm.get_input_embeddings().weight.shape[1], recipe.projector, trainer)
    vlm = build_vlm(recipe, llm, encoder, (shape[0], shape[1]))
    return Training(vlm, run.description((shape[0], shape[1])), folder / VLM_FOLDER, trainer, logger), datasets
