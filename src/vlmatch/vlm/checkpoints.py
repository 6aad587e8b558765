"""Checkpoints of a training, from which a killed run goes on: when they are written, and how."""

from pathlib import Path
from typing import Any
from zipfile import BadZipFile, ZipFile

import torch
from pytorch_lightning import LightningModule, Trainer
from pytorch_lightning.callbacks import ModelCheckpoint
from pytorch_lightning.plugins.io import TorchCheckpointIO

from vlmatch.files import renamed
from vlmatch.machine.disk import reading
from vlmatch.vlm.stage import ends_step


class Checkpoints(ModelCheckpoint):
    """Writes `last.ckpt` after every so many whole steps.

    After a resume, Lightning's own callback also writes a checkpoint inside an accumulated step, behind its first
    part. The gradient of that part would then be lost.
    """

    def __init__(self, folder: Path, every: int) -> None:
        super().__init__(folder, filename="last", every_n_train_steps=every, enable_version_counter=False)

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Write nothing inside a step."""
        if ends_step(trainer, batch_idx):
            super().on_train_batch_end(trainer, pl_module, outputs, batch, batch_idx)


class AtomicCheckpointIO(TorchCheckpointIO):
    """Writes each checkpoint beside its place and renames it when it is whole.

    On a full disk, the checkpoint before it stays as it is.
    """

    def save_checkpoint(self, checkpoint: dict[str, Any], path: Any, storage_options: Any | None = None) -> None:
        """Write `checkpoint` beside `path`, then rename it."""
        with renamed(Path(path)) as temporary, temporary.open("wb") as file:  # given a path, torch hides a full disk
            torch.save(checkpoint, file)


def require_whole(path: Path) -> Path:
    """The path of a checkpoint, if each part of the file has the checksum that torch stored with it.

    torch does not look at the checksums: it would load other weights, and the training would go on with those. Raises
    VlmatchError on a damaged file.
    """
    with reading(path, "remove it, and this stage of the training begins anew"), ZipFile(path) as file:
        damaged = file.testzip()
        if damaged is not None:
            raise BadZipFile(f"the checksum of its part '{damaged}' is wrong")
    return path
