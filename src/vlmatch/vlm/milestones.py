"""Milestones at 1/8, 1/4 and 1/2 of a training: the VLM is saved there to be measured, and the training can pause."""

from pathlib import Path
from typing import Any

from pytorch_lightning import Callback, LightningModule, Trainer

from vlmatch.vlm.model import VLM
from vlmatch.vlm.saved import Description, save_vlm

FRACTIONS = (1 / 8, 1 / 4, 1 / 2)


def milestone_steps(steps: int) -> tuple[int, ...]:
    """The steps at 1/8, 1/4 and 1/2 of a training."""
    return tuple(sorted({step_at(fraction, steps) for fraction in FRACTIONS} - {steps}))


def step_at(fraction: float, steps: int) -> int:
    """The step at `fraction` of a training that has `steps` steps in all."""
    return max(1, round(fraction * steps))


class MilestoneSaver(Callback):
    """Saves the VLM at the milestones of the whole training, in `folder`/STEP.

    steps: the number of steps of all stages. before: the number of steps of the earlier stages.
    """

    def __init__(self, vlm: VLM, steps: int, before: int, folder: Path, about: Description) -> None:
        self.vlm, self.before, self.folder, self.about = vlm, before, folder, about
        self.missing = set(milestone_steps(steps))

    def on_train_batch_end(self, trainer: Trainer, pl_module: LightningModule, *_: Any) -> None:
        """Save the VLM after the step of a milestone."""
        step = self.before + trainer.global_step
        if step in self.missing:  # in all processes, since each may hold a fraction of the weights
            self.missing.remove(step)  # with accumulation, several micro-batches belong to one step
            save_vlm(self.vlm, self.folder / str(step), self.about)


class Pause(Callback):
    """Stops a stage after a step, and writes the checkpoint from which it continues.

    step: counted over all stages. before: the number of steps of the earlier stages. checkpoint: the file to write.
    """

    def __init__(self, step: int, before: int, checkpoint: Path) -> None:
        self.step, self.before, self.checkpoint = step, before, checkpoint

    def on_train_batch_end(self, trainer: Trainer, pl_module: LightningModule, *_: Any) -> None:
        """Stop after the last micro-batch of the step."""
        if self.before + trainer.global_step == self.step:
            trainer.save_checkpoint(self.checkpoint)
            trainer.should_stop = True
