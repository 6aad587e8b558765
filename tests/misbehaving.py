"""An encoder that can dawdle and misbehave, for the tests of the embedding loop; allowed by `targets`."""

import os
import time
from pathlib import Path
from typing import Any

import torch
from PIL import Image
from torch import Tensor

from vlmatch.encoders.base import Encoder


class Thumbnail(Encoder):
    """Raw 4 x 4 pixels; a line in the file $MARKS for each batch begun; may sleep, or not return (n, d)."""

    def __init__(self, name: str, seconds: float = 0.0, fail: str = "", feature: str = "paper") -> None:
        super().__init__(name, feature=feature)
        self.seconds, self.fail = seconds, fail

    def prepare(self, image: Image.Image) -> Tensor:
        return torch.tensor(list(image.resize((4, 4)).tobytes()), dtype=torch.float32)

    def tokens(self, images: Tensor) -> Tensor:
        return images[:, None]

    def paper_feature(self, images: Tensor) -> Tensor:
        if "MARKS" in os.environ:
            with Path(os.environ["MARKS"]).open("a") as file:
                file.write(f"{os.getpid()} {len(images)}\n")
        time.sleep(self.seconds)
        return images[:, :, None] if self.fail == "shape" else images

    @property
    def paper_rule(self) -> str:
        return "pixels"

    @property
    def preprocessing(self) -> dict[str, Any]:
        return {"size": 4}
