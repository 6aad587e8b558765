"""The training of a VLM: a recipe's stages one after the other by Lightning, from where a killed run stopped."""

import json
import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from pytorch_lightning import Callback, Trainer

from vlmatch.errors import VlmatchError
from vlmatch.files import renamed
from vlmatch.lightning import quiet_lightning
from vlmatch.memory import is_out_of_memory, training_advice
from vlmatch.processes import process_rank
from vlmatch.settings.recipe import StageSettings
from vlmatch.settings.work import TrainerSettings
from vlmatch.vlm.batches import Batches, Collate, micro_batches
from vlmatch.vlm.budget import processes_of, require_memory
from vlmatch.vlm.checkpoints import AtomicCheckpointIO, Checkpoints
from vlmatch.vlm.lora import add_lora, lora_state
from vlmatch.vlm.milestones import MilestoneSaver
from vlmatch.vlm.model import VLM
from vlmatch.vlm.progress import StageBar
from vlmatch.vlm.saved import Description, restore, save_vlm
from vlmatch.vlm.sharding import FSDP, require_joined, require_no_adapters, strategy_of
from vlmatch.vlm.stage import Optimisation, Stage, used_memory
from vlmatch.vlm.training_data import TrainingData, a_picture, schedule, steps_of
from vlmatch.vlm.training_log import TrainingLog

FINAL, MILESTONES, DONE, DATA = "final", "course", "training.json", "data.json"
CHECKPOINTS = 8  # of a stage, but one every `MOST_STEPS` steps at least
MOST_STEPS = 500


@dataclass(frozen=True)
class Training:
    """A VLM in training: all of it lies in `folder`.

    about: what the VLM is made of, with the recipe. logger: Lightning's, or False.
    """

    vlm: VLM
    about: Description
    folder: Path
    trainer: TrainerSettings
    logger: Any = False

    def fit(self, datasets: Sequence[TrainingData]) -> TrainingLog:
        """Train by the recipe's stages, each on its data, or do what is left of that.

        The finished VLM comes to lie in `final/`, and of a recipe with prompts, which benchmarks can be asked with,
        those at 1/8, 1/4 and 1/2 of the steps in `course/STEP/`.
        Raises SystemExit(143) where SIGTERM ended it, VlmatchError on a loss or gradient that is no number and on data
        that are not those it began with, OSError on a full disk; the last checkpoint is kept.
        """
        recipe = self.about.recipe
        require_joined(self.trainer)
        require_no_adapters(self.trainer, recipe)
        plan = [steps_of(data, stage) for data, stage in zip(datasets, recipe.stages, strict=True)]
        self._require_context(datasets)
        longest = [each.longest(self.vlm.tokens_per_image) for each in datasets]
        require_memory(self.vlm, recipe, self.trainer, longest, a_picture(datasets))
        self._require_same(datasets)
        if recipe.projector.standardised:
            pictures = datasets[0].pictures
            self.vlm.projector.standardise(torch.stack([pictures[i] for i in range(len(pictures))]))
        log = TrainingLog((), 0.0, 0)
        for number, (data, steps) in enumerate(zip(datasets, plan, strict=True)):
            try:
                log += self._stage(number, data, steps, sum(plan[:number]), sum(plan))
            except Exception as error:
                if not is_out_of_memory(error):
                    raise
                raise VlmatchError(
                    f"recipe.stages.{number} ({recipe.stages[number].name}) ran out of memory; "
                    f"{training_advice(number)}"
                ) from error
        save_vlm(self.vlm, self.folder / FINAL, self.about)
        if process_rank() == 0:
            log.write(self.folder / DONE)
        return log

    @quiet_lightning()
    def _stage(self, number: int, data: TrainingData, steps: int, before: int, in_all: int) -> TrainingLog:
        """One stage, unless it has been finished before."""
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
        stage = Stage(self.vlm, self._optimisation(settings, steps), prefixes)
        callbacks: list[Callback] = [Checkpoints(folder, min(MOST_STEPS, max(1, steps // CHECKPOINTS)))]
        if recipe.prompts:
            callbacks.append(MilestoneSaver(self.vlm, in_all, before, self.folder / MILESTONES, self.about))
        trainer = self._trainer(settings, steps, callbacks)
        batches = self._batches(settings, data, steps, trainer, prefixes)
        if settings.gradient_checkpointing:
            self.vlm.causal_lm.gradient_checkpointing_enable({"use_reentrant": False})
        elif self.vlm.causal_lm.is_activation_checkpointing:
            self.vlm.causal_lm.gradient_checkpointing_disable()
        last = folder / "last.ckpt"
        trainer.fit(stage, batches, ckpt_path=last if last.is_file() else None, weights_only=True)
        if trainer.global_step < steps:
            raise SystemExit(143)
        done = TrainingLog(tuple(stage.losses), stage.seconds, used_memory())
        save_vlm(self.vlm, folder, self.about)
        if trainer.is_global_zero:
            done.write(folder / DONE)
            shutil.rmtree(last) if last.is_dir() else last.unlink(missing_ok=True)  # DeepSpeed's is a folder
        trainer.strategy.barrier()
        return done

    def _require_same(self, datasets: Sequence[TrainingData]) -> None:
        """Refuse to go on with data that a run was not begun with: the same settings may find others in a file."""
        found = [each.fingerprint for each in datasets]
        if data_of(self.folder) not in (None, found):
            raise VlmatchError(
                f"'{self.folder}' was begun with other training data, though under the same settings; give back those, "
                "remove the folder, or give another: task.runs=..."
            )
        if process_rank() == 0:
            with renamed(self.folder / DATA) as temporary:
                temporary.write_text(json.dumps(found))

    def _require_context(self, datasets: Sequence[TrainingData]) -> None:
        """Refuse samples that the LLM can't read to their end."""
        longest = max(each.most(self.vlm.tokens_per_image) for each in datasets)
        context = getattr(self.vlm.causal_lm.config.get_text_config(), "max_position_embeddings", None)
        if context is not None and longest > context:
            raise VlmatchError(
                f"samples have up to {longest} tokens, their pictures' included, and llm '{self.vlm.llm.name}' reads "
                f"{context}; give a smaller max_length in recipe.stages.N.data, fewer visual tokens, or another LLM"
            )

    def _optimisation(self, settings: StageSettings, steps: int) -> Optimisation:
        return Optimisation(settings.trains, steps, settings.warm_up, settings.weight_decay, self.about.recipe.seed)

    def _prefixes(self, settings: StageSettings, data: TrainingData) -> tuple[tuple[int, ...], ...]:
        """The texts in front of pictures whose keys and values can be kept, since the LLM is frozen and whole."""
        frozen = not {"llm", "lora"} & set(settings.trains) and not settings.gradient_checkpointing
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
        """The micro-batches of this process, whose samples go without the prefixes."""
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
        )

    def _trainer(self, settings: StageSettings, steps: int, callbacks: list[Callback]) -> Trainer:
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
    """The fingerprints of the data that the stages of the VLM in `folder` were begun with; None where none are kept."""
    path = folder / DATA
    return list(json.loads(path.read_text())) if path.is_file() else None
