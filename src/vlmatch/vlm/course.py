"""What a training came to, and the VLMs that it passed through on its way."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pytorch_lightning import Callback, LightningModule, Trainer

from vlmatch.files import renamed
from vlmatch.vlm.model import VLM
from vlmatch.vlm.saved import save

PARTS = (1 / 8, 1 / 4, 1 / 2)


@dataclass(frozen=True)
class Fitted:
    """A finished training or stage: the loss of each step, seconds, and the most memory used, in bytes."""

    losses: tuple[float, ...]
    seconds: float
    peak_bytes: int

    def write(self, path: Path) -> None:
        """Keep it; the file marks what it stands for as finished."""
        with renamed(path) as temporary:
            temporary.write_text(json.dumps(vars(self)))

    @classmethod
    def read(cls, path: Path) -> "Fitted | None":
        """What `write` wrote, or None where nothing has finished."""
        if not path.is_file():
            return None
        found = json.loads(path.read_text())
        return cls(tuple(found["losses"]), found["seconds"], found["peak_bytes"])

    def __add__(self, later: "Fitted") -> "Fitted":
        """This one, and the one after it."""
        return Fitted(self.losses + later.losses, self.seconds + later.seconds, max(self.peak_bytes, later.peak_bytes))

    @property
    def steps(self) -> int:
        """How many steps it had."""
        return len(self.losses)

    def loss_at(self, step: int) -> float:
        """The mean loss over the eighth of the training before the end of `step`."""
        window = self.losses[max(0, step - max(1, self.steps // 8)) : step]
        return sum(window) / len(window)


def milestones(steps: int) -> tuple[int, ...]:
    """The steps at 1/8, 1/4 and 1/2 of a training."""
    return tuple(sorted({max(1, round(part * steps)) for part in PARTS} - {steps}))


class Course(Callback):
    """Saves the VLM at the milestones of the whole training, as `folder`/STEP; `before`: steps of earlier stages."""

    def __init__(self, vlm: VLM, steps: int, before: int, folder: Path, about: Mapping[str, Any]) -> None:
        self.vlm, self.before, self.folder, self.about = vlm, before, folder, about
        self.missing = set(milestones(steps))

    def on_train_batch_end(self, trainer: Trainer, pl_module: LightningModule, *_: Any) -> None:
        """Save after a milestone's step."""
        step = self.before + trainer.global_step
        if step in self.missing:  # by all processes: each may hold a part of the weights
            self.missing.remove(step)  # with accumulation, several batches end at one step
            save(self.vlm, self.folder / str(step), self.about)
