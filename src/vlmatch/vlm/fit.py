"""The training of a VLM: a recipe's stages one after the other by Lightning, from where a killed run stopped."""

import json
import logging
import shutil
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from pytorch_lightning import Callback, LightningModule, Trainer
from pytorch_lightning.callbacks import ModelCheckpoint, RichProgressBar
from pytorch_lightning.plugins.io import TorchCheckpointIO

from vlmatch.errors import VlmatchError
from vlmatch.files import renamed
from vlmatch.processes import process_rank
from vlmatch.vlm.batches import Batches, Collate, shared
from vlmatch.vlm.budget import processes_of, require_memory
from vlmatch.vlm.lora import add_lora, lora_state
from vlmatch.vlm.milestones import MilestoneSaver
from vlmatch.vlm.model import VLM
from vlmatch.vlm.saved import restore, save_vlm
from vlmatch.vlm.sharding import FSDP, require_joined, require_no_adapters, strategy_of
from vlmatch.vlm.stage import Optimisation, Stage, ends_step, used_memory
from vlmatch.vlm.training_data import TrainingData, a_picture, schedule, steps_of
from vlmatch.vlm.training_log import TrainingLog

FINAL, MILESTONES, DONE, DATA = "final", "course", "training.json", "data.json"
CHECKPOINTS = 8  # of a stage, but one every `MOST_STEPS` steps at least
MOST_STEPS = 500


@dataclass(frozen=True)
class Training:
    """A VLM in training: all of it lies in `folder`.

    `about` describes the VLM, for `saved.save_vlm`; it holds the recipe. `trainer` is the config of Lightning's
    trainer. `logger` is Lightning's, or False.
    """

    vlm: VLM
    about: Mapping[str, Any]
    folder: Path
    trainer: Mapping[str, Any]
    logger: Any = False

    def fit(self, datasets: Sequence[TrainingData]) -> TrainingLog:
        """Train by the recipe's stages, each on its data, or do what is left of that.

        The finished VLM comes to lie in `final/`, and of a recipe with prompts, which benchmarks can be asked with,
        those at 1/8, 1/4 and 1/2 of the steps in `course/STEP/`.
        Raises SystemExit(143) where SIGTERM ended it, VlmatchError on a loss or gradient that is no number and on data
        that are not those it began with, OSError on a full disk; the last checkpoint is kept.
        """
        recipe = self.about["recipe"]
        require_joined(self.trainer)
        require_no_adapters(self.trainer, recipe)
        plan = [
            steps_of(data, stage["steps"], stage["epochs"], stage["batch_size"])
            for data, stage in zip(datasets, recipe["stages"], strict=True)
        ]
        self._require_context(datasets)
        longest = [each.longest(self.vlm.tokens_per_image) for each in datasets]
        require_memory(self.vlm, recipe, self.trainer, longest, a_picture(datasets))
        self._require_same(datasets)
        if recipe["projector"].get("standardised"):
            pictures = datasets[0].pictures
            self.vlm.projector.standardise(torch.stack([pictures[i] for i in range(len(pictures))]))
        log = TrainingLog((), 0.0, 0)
        try:
            for number, (data, steps) in enumerate(zip(datasets, plan, strict=True)):
                log += self._stage(number, data, steps, sum(plan[:number]), sum(plan))
            save_vlm(self.vlm, self.folder / FINAL, self.about)
        except RuntimeError as error:
            if not _no_memory(error):
                raise
            raise VlmatchError(
                "the training does not fit into memory; give a larger recipe.stages.N.accumulate, which takes the "
                "same samples in smaller parts, or recipe.stages.N.gradient_checkpointing=true"
            ) from error
        if process_rank() == 0:
            log.write(self.folder / DONE)
        return log

    def _stage(self, number: int, data: TrainingData, steps: int, before: int, in_all: int) -> TrainingLog:
        """One stage, unless it has been finished before."""
        settings = self.about["recipe"]["stages"][number]
        folder = self.folder / "stages" / f"{number + 1}-{settings['name']}"
        if "lora" in settings["trains"] and not lora_state(self.vlm.causal_lm):
            torch.manual_seed(self.about["recipe"]["seed"])
            add_lora(self.vlm.causal_lm, self.about["recipe"]["lora"])
        done = TrainingLog.read(folder / DONE)
        if done is not None:
            restore(self.vlm, folder)
            return done
        prefixes = self._prefixes(settings, data)
        stage = Stage(self.vlm, self._optimisation(settings, steps), prefixes)
        callbacks: list[Callback] = [Checkpoints(folder, min(MOST_STEPS, max(1, steps // CHECKPOINTS)))]
        if self.about["recipe"].get("prompts"):
            callbacks.append(MilestoneSaver(self.vlm, in_all, before, self.folder / MILESTONES, self.about))
        trainer = self._trainer(settings, steps, callbacks)
        batches = self._batches(settings, data, steps, trainer, prefixes)
        if settings["gradient_checkpointing"]:
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

    def _optimisation(self, settings: Mapping[str, Any], steps: int) -> Optimisation:
        return Optimisation(
            settings["trains"], steps, settings["warm_up"], settings["weight_decay"], self.about["recipe"]["seed"]
        )

    def _prefixes(self, settings: Mapping[str, Any], data: TrainingData) -> tuple[tuple[int, ...], ...]:
        """The texts in front of pictures whose keys and values can be kept, since the LLM is frozen and whole."""
        frozen = not {"llm", "lora"} & set(settings["trains"]) and not settings["gradient_checkpointing"]
        prefixes = data.prefixes() if frozen and self.trainer["strategy"] != FSDP else ()
        return prefixes if self.vlm.cacheable(prefixes) else ()

    def _batches(
        self,
        settings: Mapping[str, Any],
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
                for batch in schedule(data, steps, settings["batch_size"], self.about["recipe"]["seed"])
                for part in shared(batch, settings["accumulate"], trainer.global_rank, trainer.world_size)
            ],
            Collate(self.vlm.tokens_per_image, prefixes, blank),
            settings["workers"],
        )

    def _trainer(self, settings: Mapping[str, Any], steps: int, callbacks: list[Callback]) -> Trainer:
        logging.getLogger("pytorch_lightning").setLevel(logging.ERROR)
        warnings.filterwarnings("ignore", module="pytorch_lightning")
        return Trainer(
            max_steps=steps,
            accumulate_grad_batches=settings["accumulate"],
            gradient_clip_val=settings["clip"],
            accelerator=self.trainer["accelerator"],
            devices=self.trainer["devices"],
            strategy=strategy_of(self.trainer["strategy"], processes_of(self.trainer)),
            precision=self.trainer["precision"],
            logger=self.logger,
            log_every_n_steps=max(1, min(10, steps // 50)),
            deterministic="warn",
            use_distributed_sampler=False,
            enable_model_summary=False,
            callbacks=[*callbacks, Bar(settings["name"])],
            plugins=[] if str(self.trainer["strategy"]).startswith("deepspeed") else [Renamed()],
        )


class Checkpoints(ModelCheckpoint):
    """`last.ckpt` after every so many whole steps.

    Lightning's own would also write one behind the first part of an accumulated step, in a run that goes on from a
    checkpoint of the step before; the gradient of that part would then be lost.
    """

    def __init__(self, folder: Path, every: int) -> None:
        super().__init__(folder, filename="last", every_n_train_steps=every, enable_version_counter=False)

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Nothing within a step."""
        if ends_step(trainer, batch_idx):
            super().on_train_batch_end(trainer, pl_module, outputs, batch, batch_idx)


def data_of(folder: Path) -> list[str] | None:
    """The fingerprints of the data that the stages of the VLM in `folder` were begun with; None where none are kept."""
    path = folder / DATA
    return list(json.loads(path.read_text())) if path.is_file() else None


class Bar(RichProgressBar):
    """A stage's steps by its name: Lightning's own counts epochs, which a number of steps has none of ('0/-2')."""

    def __init__(self, stage: str) -> None:
        super().__init__(leave=True)
        self.stage = stage

    def get_metrics(self, trainer: Trainer, pl_module: LightningModule) -> dict[str, Any]:
        """All but the run's number, which is the last four digits of MLflow's."""
        return {name: value for name, value in super().get_metrics(trainer, pl_module).items() if name != "v_num"}

    def _get_train_description(self, current_epoch: int) -> str:
        return self.stage


class Renamed(TorchCheckpointIO):
    """Checkpoints that are renamed when whole: on a full disk the one before stays as it is."""

    def save_checkpoint(self, checkpoint: dict[str, Any], path: Any, storage_options: Any | None = None) -> None:
        """Write it beside `path` first."""
        with renamed(Path(path)) as temporary, temporary.open("wb") as file:  # given a path, torch hides a full disk
            torch.save(checkpoint, file)


def _no_memory(error: RuntimeError) -> bool:
    text = str(error).lower()
    return any(said in text for said in ("out of memory", "can't allocate memory", "not enough memory"))
