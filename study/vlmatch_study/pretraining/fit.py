"""The training loop: Lightning's, with a checkpoint every few epochs, so a killed run resumes with equal results."""

from pathlib import Path

from pytorch_lightning import Trainer
from pytorch_lightning.callbacks import ModelCheckpoint, RichProgressBar

from vlmatch.lightning import quiet_lightning
from vlmatch_study.pretraining.objective import Objective

CHECKPOINT_EPOCHS = 4


@quiet_lightning()
def fit(objective: Objective, *, epochs: int, checkpoints: Path, accelerator: str) -> float:
    """Train for `epochs`, or for those that a killed run has left; returns the mean loss of the last epoch.

    `checkpoints` is a folder that belongs to this run. Raises SystemExit(143) if SIGTERM ended the training early.
    """
    last = checkpoints / "last.ckpt"
    trainer = Trainer(
        max_epochs=epochs,
        accelerator=accelerator,
        devices=1,
        logger=False,
        deterministic=True,
        reload_dataloaders_every_n_epochs=1,  # the order of the items follows from the epoch's number
        enable_model_summary=False,
        callbacks=[
            ModelCheckpoint(
                checkpoints,
                filename="last",
                every_n_epochs=CHECKPOINT_EPOCHS,
                save_on_train_epoch_end=True,
                enable_version_counter=False,
            ),
            RichProgressBar(leave=True),
        ],
    )
    trainer.fit(objective, ckpt_path=last if last.is_file() else None, weights_only=True)
    if trainer.current_epoch < epochs:
        raise SystemExit(143)
    return float(objective.last_loss)
