"""The log of a finished training: the loss of each step, and the time and memory that it took."""

import json
from dataclasses import dataclass
from pathlib import Path

from vlmatch.files import write_text
from vlmatch.machine.disk import reading


@dataclass(frozen=True)
class TrainingLog:
    """The log of a training or a stage: the loss of each step, seconds, and the most memory used, in bytes."""

    losses: tuple[float, ...]
    seconds: float
    peak_bytes: int

    def write(self, path: Path) -> None:
        """Write the log; its file marks the training or stage as finished."""
        write_text(path, json.dumps(vars(self)))

    @classmethod
    def read(cls, path: Path) -> "TrainingLog | None":
        """The log that `write` wrote; None if the training or stage has not finished.

        Raises VlmatchError on a damaged file.
        """
        if not path.is_file():
            return None
        with reading(path, "remove it, and that part of the training is done again"):
            found = json.loads(path.read_text())
            return cls(tuple(map(float, found["losses"])), float(found["seconds"]), int(found["peak_bytes"]))

    def __add__(self, later: "TrainingLog") -> "TrainingLog":
        """The log of this training followed by a later one."""
        return TrainingLog(
            self.losses + later.losses, self.seconds + later.seconds, max(self.peak_bytes, later.peak_bytes)
        )

    @property
    def steps(self) -> int:
        """The number of steps."""
        return len(self.losses)

    def loss_at(self, step: int) -> float:
        """The mean loss of an eighth of the training's steps, the last of which is `step`."""
        window = self.losses[max(0, step - max(1, self.steps // 8)) : step]
        return sum(window) / len(window)
