"""An encoder that can dawdle and misbehave, and embedding by it, in this process or another."""

import os
import signal
import time
from pathlib import Path
from typing import Any

import torch
from PIL import Image
from torch import Tensor
from torch._dynamo.exc import TorchDynamoException

from vlmatch.embeddings.embed import Cost, embed
from vlmatch.embeddings.store import Embeddings, Store
from vlmatch.encoders.base import Encoder
from vlmatch.objects import admitted
from vlmatch.probes.pairs import ProbeSet
from vlmatch.settings.buildable import EncoderSettings
from vlmatch.settings.work import TrainerSettings

THUMBNAIL = {"_target_": "misbehaving.Thumbnail", "name": "t"}
TRAINER = {
    "accelerator": "cpu",
    "devices": 1,
    "strategy": "auto",
    "precision": "32-true",
    "batch_size": 2,
    "shard_size": 4,
    "num_workers": 2,
    "profiler": None,
}
ERRORS = {
    "gpu memory": torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2 GiB"),
    "cpu memory": RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried to allocate 9 bytes"),
    "python memory": MemoryError(),
    "compiler": TorchDynamoException("no working C++ compiler"),
    "other": RuntimeError("shapes cannot be multiplied"),
}


def trainer_of(**changes: Any) -> TrainerSettings:
    """Shards of 4 rows and batches of 2, unless changed."""
    return TrainerSettings.of("trainer", {**TRAINER, **changes})


def compute(config: dict[str, Any], probe: ProbeSet, store: Store, **trainer: Any) -> tuple[Embeddings, Cost]:
    """Embed by an encoder of this module, in shards of 4 rows and batches of 2."""
    with admitted("misbehaving."):
        return embed(EncoderSettings.of("encoder", config), probe, store, trainer_of(**trainer))


def compute_elsewhere(marks: Path, config: dict[str, Any], probe: ProbeSet, store: Store) -> None:
    """The same as the main function of another process, which leaves its marks in a file.

    Interrupts are heeded even where what started the tests in the background ignores them.
    """
    signal.signal(signal.SIGINT, signal.default_int_handler)
    os.environ["MARKS"] = str(marks)
    compute(config, probe, store)


class Thumbnail(Encoder):
    """Raw 4 x 4 pixels; a line in the file $MARKS for each batch begun; may sleep, or fail in a way that has a name.

    fail: 'shape' does not return (n, d); a key of `ERRORS` is raised for more than `at_most` images at once.
    """

    def __init__(
        self,
        name: str,
        seconds: float = 0.0,
        fail: str = "",
        at_most: int = 0,
        feature: str = "paper",
        licence: dict[str, str] | None = None,
    ) -> None:
        super().__init__(name, feature=feature, licence=licence)
        self.seconds, self.fail, self.at_most = seconds, fail, at_most

    def prepare(self, image: Image.Image) -> Tensor:
        return torch.tensor(list(image.resize((4, 4)).tobytes()), dtype=torch.float32)

    def tokens(self, images: Tensor) -> Tensor:
        return images[:, None]

    def paper_feature(self, images: Tensor) -> Tensor:
        if "MARKS" in os.environ:
            with Path(os.environ["MARKS"]).open("a") as file:
                file.write(f"{os.getpid()} {len(images)}\n")
        time.sleep(self.seconds)
        if self.fail in ERRORS and len(images) > self.at_most:
            raise ERRORS[self.fail]
        return images[:, :, None] if self.fail == "shape" else images

    @property
    def paper_rule(self) -> str:
        return "pixels"

    @property
    def preprocessing(self) -> dict[str, Any]:
        return {"size": 4}
