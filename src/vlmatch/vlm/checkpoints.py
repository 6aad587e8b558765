"""When and how the checkpoints of a training are written, from which a killed run continues."""

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
    """Writes `last.ckpt` every `every` steps, and only between two steps.

    After a resume, Lightning's own callback also writes a checkpoint after the first micro-batch of an accumulated
    step. A run that continues from that checkpoint loses the micro-batch's gradient.
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
    """Writes each checkpoint to a temporary file beside it, and renames that file when it is complete.

    On a full disk, the previous checkpoint stays as it is.
    """

    def save_checkpoint(self, checkpoint: dict[str, Any], path: Any, storage_options: Any | None = None) -> None:
        """Write `checkpoint` to a temporary file beside `path`, then rename that to `path`."""
        with renamed(Path(path)) as temporary, temporary.open("wb") as file:  # given a path, torch hides a full disk
            torch.save(checkpoint, file)


def require_whole(path: Path) -> Path:
    """Return the path of a checkpoint, after comparing each part of the file with the checksum that torch stored.

    torch itself does not compare them: it would load damaged weights, and the training would continue with those.
    Raises VlmatchError on a damaged file.
    """
    with reading(path, "remove it, and this stage of the training begins anew"), ZipFile(path) as file:
        damaged = file.testzip()
        if damaged is not None:
            raise BadZipFile(f"the checksum of its part '{damaged}' is wrong")
    return path
