"""Progress of embedding: a bar with the time left on a terminal, elsewhere a line now and then."""

import time
from datetime import timedelta
from typing import Any

from pytorch_lightning import LightningModule, Trainer
from pytorch_lightning.callbacks import Callback
from rich.console import Console
from rich.progress import Progress, ProgressColumn, Task
from rich.text import Text

from vlmatch.machine.bars import bar
from vlmatch.machine.waiting import NowAndThen


class EmbeddingProgress(Callback):
    """Shows how many of this process's items are embedded.

    what: the model, as in "encoder 'siglip'". things: its items, 'images' or 'captions'.
    """

    def __init__(self, what: str, things: str, total: int) -> None:
        self.what, self.things, self.total = what, things, total
        self.done = 0
        self._bar: Progress | None = None
        self._task: Any = None
        self._lines: NowAndThen | None = None
        self._started = 0.0

    def on_predict_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Start the clock, and the bar on a terminal."""
        self.total = -(-self.total // trainer.world_size)  # the share of one process: all are about equally fast
        self._started = time.monotonic()
        console = Console()
        if console.is_terminal and trainer.is_global_zero:
            self._bar = bar(console, Rate(self.things))
            self._task = self._bar.add_task(self.what, total=self.total)
            self._bar.start()
        elif trainer.is_global_zero:
            self._lines = NowAndThen()

    def on_predict_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int, *args: Any
    ) -> None:
        """Count the batch."""
        self.done += len(batch[0])
        if self._bar is not None:
            self._bar.update(self._task, advance=len(batch[0]))
        elif self._lines is not None:
            self._lines.say(self._line(time.monotonic() - self._started))

    def on_predict_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Leave the bar as it stands."""
        self._stop()

    def on_exception(self, trainer: Trainer, pl_module: LightningModule, exception: BaseException) -> None:
        """Leave the bar as it stands: the message comes below it."""
        self._stop()

    def _line(self, seconds: float) -> str:
        rate = self.done / seconds
        left = timedelta(seconds=round((self.total - self.done) / rate))
        return f"{self.what}: {self.done} of {self.total} {self.things}, {rate:.1f} a second, {left} left"

    def _stop(self) -> None:
        if self._bar is not None:
            self._bar.stop()
            self._bar = None


class Rate(ProgressColumn):
    """How many items per second."""

    def __init__(self, things: str) -> None:
        super().__init__()
        self.things = things

    def render(self, task: Task) -> Text:
        """The recent rate; empty until there is one."""
        return Text("" if task.speed is None else f"{task.speed:.1f} {self.things}/s")
