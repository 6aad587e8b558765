"""The base of all objectives: batches and random numbers that follow from seed and epoch, and the optimiser."""

import math
import time
from abc import ABC, abstractmethod
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from pytorch_lightning import LightningModule
from torch import Tensor
from torch.utils.data import DataLoader

from vlmatch.objects import Buildable
from vlmatch_study.pretraining.data import PretrainingData


class Objective(Buildable, LightningModule, ABC):
    """An encoder in training. Random numbers follow from `seed` and the epoch, so a resumed run gives equal results.

    learning_rate: AdamW's highest. It warms up over the first tenth of the steps, then falls to 0 by a cosine.
    """

    seconds: Tensor
    last_loss: Tensor

    def __init__(
        self, data: PretrainingData, *, learning_rate: float, weight_decay: float, batch_size: int, seed: int
    ) -> None:
        super().__init__()
        self.data = data
        self.learning_rate, self.weight_decay = learning_rate, weight_decay
        self.batch_size, self.seed = min(batch_size, len(data)), seed
        for kept in ("seconds", "last_loss"):  # in checkpoints
            self.register_buffer(kept, torch.zeros((), dtype=torch.float64))

    @abstractmethod
    def loss(self, rows: list[int]) -> Tensor:
        """The loss of the training items with these row numbers."""

    @abstractmethod
    def write(self, folder: Path) -> None:
        """Write the encoder's weights into `folder`, in half precision."""

    @abstractmethod
    def measures(self, held_out: PretrainingData) -> Mapping[str, float]:
        """The encoder's figures on held-out items; each accuracy with its value by chance."""

    def train_dataloader(self) -> DataLoader[int]:
        """The row numbers of each batch in this epoch; rows that do not fill a batch wait for another epoch."""
        n = len(self.data)
        order = torch.randperm(n, generator=torch.Generator().manual_seed(self._epoch_seed())).tolist()
        starts = range(0, n - self.batch_size + 1, self.batch_size)
        batches = [order[start : start + self.batch_size] for start in starts]
        return DataLoader(range(n), batch_sampler=batches, collate_fn=list)  # type: ignore[arg-type]

    def on_train_epoch_start(self) -> None:
        """Note the time."""
        self._started = time.perf_counter()

    def on_train_epoch_end(self) -> None:
        """Add this epoch's seconds, and keep its mean loss."""
        self.seconds += time.perf_counter() - self._started
        self.last_loss.copy_(self.trainer.callback_metrics["loss"])

    def training_step(self, rows: list[int], batch_idx: int) -> Tensor:
        """The loss of one batch. Random numbers are seeded here, because data loaders draw some between batches."""
        torch.manual_seed(self._epoch_seed() * 1009 + batch_idx)
        loss = self.loss(rows)
        self.log("loss", loss, on_step=False, on_epoch=True, prog_bar=True, batch_size=len(rows))
        return loss

    def configure_optimizers(self) -> Any:
        """AdamW with warm-up and cosine decay."""
        optimiser = torch.optim.AdamW(self.parameters(), lr=self.learning_rate, weight_decay=self.weight_decay)
        steps = int(self.trainer.estimated_stepping_batches)
        warm_up = max(1, steps // 10)

        def factor(step: int) -> float:
            return min((step + 1) / warm_up, (1 + math.cos(math.pi * step / steps)) / 2)

        cycle = torch.optim.lr_scheduler.LambdaLR(optimiser, factor)
        return {"optimizer": optimiser, "lr_scheduler": {"scheduler": cycle, "interval": "step"}}

    def _epoch_seed(self) -> int:
        return self.seed * 100_003 + self.current_epoch
