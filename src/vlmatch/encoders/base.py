"""What every vision encoder offers: its own preprocessing, its tokens, and one feature an image by a stated rule."""

import math
import re
from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import Any, ClassVar

import torch
from PIL import Image
from torch import Tensor, nn

from vlmatch.errors import VlmatchError
from vlmatch.objects import Buildable

FEATURES = ("paper", "vlm_input", "gridK")


class Encoder(Buildable, nn.Module, ABC):
    """A frozen vision encoder that carries its own preprocessing.

    `feature="paper"` is the CLS token after the final norm and before any projection; where a model
    has none, its attention pool's output; else the global average of its last map; else the mean patch.
    `feature="vlm_input"` is the mean of what a VLM's projector is fed: the tokens of `tokens()`; `feature="grid2"`
    (or another number) is their means over a 2 x 2 grid, row by row, in one vector.
    `rule` names in words which of these applied.
    """

    kind: ClassVar[str] = "encoder"
    version: ClassVar[int] = 1  # raise it in a subclass when its code gives other numbers for the same yaml

    def __init__(
        self,
        name: str,
        *,
        feature: str = "paper",
        control: bool = False,
        licence: Mapping[str, str] | None = None,
    ) -> None:
        super().__init__()
        self.grid = int(feature[4:]) if re.fullmatch("grid[1-9]", feature) else None
        if feature not in FEATURES[:2] and self.grid is None:
            raise VlmatchError(f"encoder '{name}': feature='{feature}' is unknown; choose one of {', '.join(FEATURES)}")
        self.name = name
        self.feature_choice = feature
        self.control = control
        self.licence = licence  # the catalogue's; vlmatch.packages.licences weighs it against the package's own
        self.weights_sha256: str | None = None  # None: no weights, as for raw pixels

    @abstractmethod
    def prepare(self, image: Image.Image) -> Tensor:
        """Preprocess one RGB image to the (c, h, w) float tensor that the model expects."""

    @abstractmethod
    def tokens(self, images: Tensor) -> Tensor:
        """Visual tokens of (n, c, h, w) prepared images: (n, t, d), without prefix tokens (CLS, registers)."""

    @abstractmethod
    def paper_feature(self, images: Tensor) -> Tensor:
        """One feature an image by the paper's rule: (n, d)."""

    @property
    @abstractmethod
    def paper_rule(self) -> str:
        """The rule that `paper_feature` follows, in words: 'cls', 'attention pool', 'global average', 'mean patch'."""

    @property
    @abstractmethod
    def preprocessing(self) -> dict[str, Any]:
        """The preprocessing as plain values (size, resize mode, mean, std, ...): it is stored with the embeddings."""

    @property
    def rule(self) -> str:
        """The feature rule in force, in words."""
        if self.grid is not None:
            return f"VLM tokens averaged over {self.grid} x {self.grid}"
        return self.paper_rule if self.feature_choice == "paper" else "mean VLM token"

    @property
    def features_per_image(self) -> int:
        """How many feature vectors `feature` strings together: 1, or the cells of the grid."""
        return 1 if self.grid is None else self.grid**2

    def feature(self, images: Tensor) -> Tensor:
        """One feature an image, (n, d) float, by the rule in force."""
        if self.grid is not None:
            return self._gridded(self.tokens(images), self.grid).flatten(1)
        return self.paper_feature(images) if self.feature_choice == "paper" else self.tokens(images).mean(dim=1)

    def forward(self, images: Tensor) -> Tensor:
        """Same as `feature`: what the embedding loop calls on a batch of prepared images."""
        return self.feature(images)

    def collate(self, items: list[Tensor]) -> Tensor:
        """Stack prepared images to one batch."""
        return torch.stack(items)

    def n_parameters(self) -> int | None:
        """Parameters of the vision side, the ones a VLM would carry; None where they are not known."""
        return sum(parameter.numel() for parameter in self.parameters())

    def _gridded(self, tokens: Tensor, side: int) -> Tensor:
        """Means of (n, t, d) tokens of a square map over side x side cells: (n, side^2, d)."""
        n, t, d = tokens.shape
        width = math.isqrt(t)
        if width**2 != t:
            raise VlmatchError(
                f"encoder '{self.name}': feature='{self.feature_choice}' wants a square map; its {t} tokens are none"
            )
        cells = nn.functional.adaptive_avg_pool2d(tokens.transpose(1, 2).reshape(n, d, width, width), side)
        return cells.flatten(2).transpose(1, 2)
