"""Trains a VLM with Lightning, one stage of its recipe after another; a killed run continues where it stopped."""

import json
import shutil
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from pytorch_lightning import Callback, Trainer

from vlmatch.errors import VlmatchError
from vlmatch.files import write_text
from vlmatch.lightning import quiet_lightning, trainer_faults
from vlmatch.machine.disk import reading
from vlmatch.machine.memory import is_out_of_memory, training_advice
from vlmatch.machine.processes import process_rank
from vlmatch.settings.recipe import StageSettings
from vlmatch.settings.work import TrainerSettings
from vlmatch.vlm.batches import Batches, Collate, micro_batches
from vlmatch.vlm.checkpointing import set_checkpointing
from vlmatch.vlm.checkpoints import AtomicCheckpointIO, Checkpoints, require_whole
from vlmatch.vlm.lora import add_lora, lora_state
from vlmatch.vlm.milestones import MilestoneSaver, Pause, step_at
from vlmatch.vlm.model import VLM
from vlmatch.vlm.progress import StageBar
from vlmatch.vlm.saved import DESCRIPTION, Description, restore, save_vlm
from vlmatch.vlm.sharding import FSDP, require_joined, require_no_adapters, require_unconverted, strategy_of
from vlmatch.vlm.stage import LLM_PARTS, Optimisation, Stage, used_memory
from vlmatch.vlm.training_data import TrainingData, a_picture, schedule, steps_of
from vlmatch.vlm.training_log import TrainingLog
from vlmatch.vlm.training_memory import processes_of, require_memory

FINAL, MILESTONES, DONE, DATA = "final", "course", "training.json", "data.json"
CHECKPOINTS = 8  # written in each stage; more if they would be further apart than `MOST_STEPS` steps
MOST_STEPS = 500


@dataclass(frozen=True)
class Training:
    """The training of one VLM, whose files all lie in `folder`.

    about: describes the VLM, and holds the recipe. trainer: settings of Lightning's trainer. logger: a logger of
    Lightning, or False.
    """

    vlm: VLM
    about: Description
    folder: Path
    trainer: TrainerSettings
    logger: Any = False

    def fit(self, datasets: Sequence[TrainingData]) -> TrainingLog:
        """Train all stages of the recipe, each on its data, or continue a training that was killed.

        The finished VLM is saved in `final/`. If the recipe has prompts for the benchmarks, the VLM is also saved at
        1/8, 1/4 and 1/2 of the steps, in `course/STEP/`.

        Raises VlmatchError if settings, data or memory don't fit together, if a killed run was trained on other data,
        or if a loss or gradient is not finite; SystemExit(143) after SIGTERM; OSError on a full disk. The last
        checkpoint is kept.
        """
        plan = self._checked(datasets)
        log = self._train(datasets, plan, sum(plan))
        save_vlm(self.vlm, self.folder / FINAL, self.about)
        if process_rank() == 0:
            log.write(self.folder / DONE)
        return log

    def fit_until(self, datasets: Sequence[TrainingData], fraction: float) -> int:
        """Start or continue the training, and pause it at the milestone at a fraction of the steps (1/8, 1/4 or 1/2).

        Returns the milestone's step; its VLM is saved in `course/STEP/`. `fit` continues from there, with the same
        numbers as without a pause. Nothing is trained if the milestone is saved already. Raises the errors of `fit`.
        """
        plan = self._checked(datasets)
        step = step_at(fraction, sum(plan))
        if not (self.folder / MILESTONES / str(step) / DESCRIPTION).is_file():
            self._train(datasets, plan, step)
        return step

    def _checked(self, datasets: Sequence[TrainingData]) -> list[int]:
        """Check that settings, data and memory fit together; returns the number of steps of each stage."""
        recipe = self.about.recipe
        require_joined(self.trainer)
        require_unconverted(self.trainer)
        require_no_adapters(self.trainer, recipe)
        plan = [steps_of(data, stage) for data, stage in zip(datasets, recipe.stages, strict=True)]
        self._require_context(datasets)
        longest = [each.longest(self.vlm.tokens_per_image) for each in datasets]
        require_memory(self.vlm, recipe, self.trainer, longest, a_picture(datasets))
        self._require_same(datasets)
        if recipe.projector.standardised:
            pictures = datasets[0].pictures
            self.vlm.projector.standardise(torch.stack([pictures[i] for i in range(len(pictures))]))
        return plan

    def _train(self, datasets: Sequence[TrainingData], plan: Sequence[int], until: int) -> TrainingLog:
        """Train up to step `until`, counted over all stages; returns the log of the finished stages."""
        log = TrainingLog((), 0.0, 0)
        for number, (data, steps) in enumerate(zip(datasets, plan, strict=True)):
            before = sum(plan[:number])
            if before >= until:
                break
            with _memory_advice(number, self.about.recipe.stages[number].name):
                log += self._stage(number, data, steps, before, sum(plan), until)
        return log

    @quiet_lightning()
    def _stage(self, number: int, data: TrainingData, steps: int, before: int, in_all: int, until: int) -> TrainingLog:
        """Train stage `number`, or load it if it has been finished before; returns its log, empty if it was paused.

        before: the number of steps of the earlier stages. in_all: the number of steps of all stages. until: the step,
        counted over all stages, at which the training pauses.
        """
        recipe = self.about.recipe
        settings = recipe.stages[number]
        folder = self.folder / "stages" / f"{number + 1}-{settings.name}"
        if recipe.lora is not None and "lora" in settings.trains and not lora_state(self.vlm.causal_lm):
            torch.manual_seed(recipe.seed)
            add_lora(self.vlm.causal_lm, recipe.lora)
        done = TrainingLog.read(folder / DONE)
        if done is not None:
            restore(self.vlm, folder)
            return done
        prefixes = self._prefixes(settings, data)
        learning = Optimisation(settings.trains, steps, settings.warm_up, settings.weight_decay, recipe.seed)
        stage = Stage(self.vlm, learning, prefixes, before)
        callbacks: list[Callback] = [Checkpoints(folder, min(MOST_STEPS, max(1, steps // CHECKPOINTS)))]
        if recipe.prompts:
            callbacks.append(MilestoneSaver(self.vlm, in_all, before, self.folder / MILESTONES, self.about))
        last, pauses = folder / "last.ckpt", until < before + steps
        if pauses:
            callbacks.append(Pause(until, before, last))
        trainer = self._trainer(settings, steps, callbacks)
        batches = self._batches(settings, data, steps, trainer, prefixes)
        learns = bool(LLM_PARTS & set(settings.trains))
        set_checkpointing(self.vlm.causal_lm, wanted=settings.gradient_checkpointing, learns=learns)
        found = require_whole(last) if last.is_file() else None
        trainer.fit(stage, batches, ckpt_path=found, weights_only=True)
        if pauses and before + trainer.global_step == until:
            return TrainingLog((), 0.0, 0)
        if trainer.global_step < steps:
            raise SystemExit(143)
        done = TrainingLog(tuple(stage.losses), stage.seconds, used_memory())
        save_vlm(self.vlm, folder, self.about)
        if trainer.is_global_zero:
            done.write(folder / DONE)
            shutil.rmtree(last) if last.is_dir() else last.unlink(missing_ok=True)  # DeepSpeed writes a folder
        trainer.strategy.barrier()
        return done

    def _require_same(self, datasets: Sequence[TrainingData]) -> None:
        """Raise VlmatchError if the run began with other data: a file may have changed under equal settings."""
        found = [each.fingerprint for each in datasets]
        if data_of(self.folder) not in (None, found):
            raise VlmatchError(
                f"the training in '{self.folder}' began with the same settings but other training data; restore those "
                "data, remove the folder, or give another: task.runs=..."
            )
        if process_rank() == 0:
            write_text(self.folder / DATA, json.dumps(found))

    def _require_context(self, datasets: Sequence[TrainingData]) -> None:
        """Raise VlmatchError if samples may be longer than the LLM's context."""
        longest = max(each.most(self.vlm.tokens_per_image) for each in datasets)
        context = getattr(self.vlm.causal_lm.config.get_text_config(), "max_position_embeddings", None)
        if context is not None and longest > context:
            raise VlmatchError(
                f"samples have up to {longest} tokens, including those of their pictures, but llm "
                f"'{self.vlm.llm.name}' reads at most {context}; give a smaller recipe.stages.N.data.max_length, fewer "
                "visual tokens, or another LLM"
            )

    def _prefixes(self, settings: StageSettings, data: TrainingData) -> tuple[tuple[int, ...], ...]:
        """The texts in front of pictures that are cached; none if the LLM is trained or sharded."""
        frozen = not LLM_PARTS & set(settings.trains) and not settings.gradient_checkpointing
        prefixes = data.prefixes() if frozen and self.trainer.strategy != FSDP else ()
        return prefixes if self.vlm.cacheable(prefixes) else ()

    def _batches(
        self,
        settings: StageSettings,
        data: TrainingData,
        steps: int,
        trainer: Trainer,
        prefixes: tuple[tuple[int, ...], ...],
    ) -> Batches:
        """The micro-batches of this process; cached prefixes are cut off their samples."""
        blank = torch.zeros_like(data.pictures[0]) if len(data.pictures) else None
        return Batches(
            data,
            [
                part
                for batch in schedule(data, steps, settings.batch_size, self.about.recipe.seed)
                for part in micro_batches(batch, settings.accumulate, trainer.global_rank, trainer.world_size)
            ],
            Collate(self.vlm.tokens_per_image, prefixes, blank),
            settings.workers,
            settings.accumulate,
        )

    def _trainer(self, settings: StageSettings, steps: int, callbacks: list[Callback]) -> Trainer:
        with trainer_faults():
            return Trainer(
                max_steps=steps,
                accumulate_grad_batches=settings.accumulate,
                gradient_clip_val=settings.clip,
                accelerator=self.trainer.accelerator,
                devices=self.trainer.devices,
                strategy=strategy_of(self.trainer.strategy, processes_of(self.trainer)),
                precision=self.trainer.precision,
                logger=self.logger,
                log_every_n_steps=max(1, min(10, steps // 50)),
                deterministic="warn",
                use_distributed_sampler=False,
                enable_model_summary=False,
                callbacks=[*callbacks, StageBar(settings.name)],
                plugins=[] if self.trainer.strategy.startswith("deepspeed") else [AtomicCheckpointIO()],
            )


def data_of(folder: Path) -> list[str] | None:
    """The fingerprint of each stage's data, of the VLM in `folder`; None if none are stored."""
    path = folder / DATA
    if not path.is_file():
        return None
    with reading(path, "remove it: the training then goes on with the data of this command"):
        return [str(fingerprint) for fingerprint in json.loads(path.read_text())]


@contextmanager
def _memory_advice(number: int, name: str) -> Iterator[None]:
    """Turn an out-of-memory error in the block into a VlmatchError that names the stage and what to change."""
    try:
        yield
    except Exception as error:
        if not is_out_of_memory(error):
            raise
        raise VlmatchError(f"recipe.stages.{number} ({name}) ran out of memory; {training_advice(number)}") from error
