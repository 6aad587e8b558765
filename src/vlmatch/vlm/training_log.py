"""What is kept of a finished training: the loss of each step, the time and the memory it took."""

import json
from dataclasses import dataclass
from pathlib import Path

from vlmatch.files import renamed


@dataclass(frozen=True)
class TrainingLog:
    """A finished training or stage: the loss of each step, seconds, and the most memory used, in bytes."""

    losses: tuple[float, ...]
    seconds: float
    peak_bytes: int

    def write(self, path: Path) -> None:
        """Keep it; the file marks what it stands for as finished."""
        with renamed(path) as temporary:
            temporary.write_text(json.dumps(vars(self)))

    @classmethod
    def read(cls, path: Path) -> "TrainingLog | None":
        """What `write` wrote, or None where nothing has finished."""
        if not path.is_file():
            return None
        found = json.loads(path.read_text())
        return cls(tuple(found["losses"]), found["seconds"], found["peak_bytes"])

    def __add__(self, later: "TrainingLog") -> "TrainingLog":
        """This one, and the one after it."""
        return TrainingLog(
            self.losses + later.losses, self.seconds + later.seconds, max(self.peak_bytes, later.peak_bytes)
        )

    @property
    def steps(self) -> int:
        """How many steps it had."""
        return len(self.losses)

    def loss_at(self, step: int) -> float:
        """The mean loss over the eighth of the training before the end of `step`."""
        window = self.losses[max(0, step - max(1, self.steps // 8)) : step]
        return sum(window) / len(window)
