"""The progress bar of a training."""

from typing import Any

from pytorch_lightning import LightningModule, Trainer
from pytorch_lightning.callbacks import RichProgressBar


class StageBar(RichProgressBar):
    """Shows the stage's name and its steps.

    Lightning's own bar counts epochs. Here only the number of steps is fixed, so that bar would show '0/-2'.
    """

    def __init__(self, stage: str) -> None:
        super().__init__(leave=True)
        self.stage = stage

    def get_metrics(self, trainer: Trainer, pl_module: LightningModule) -> dict[str, Any]:
        """The metrics beside the bar, without `v_num` (the last four digits of MLflow's run id)."""
        return {name: value for name, value in super().get_metrics(trainer, pl_module).items() if name != "v_num"}

    def _get_train_description(self, current_epoch: int) -> str:
        return self.stage
