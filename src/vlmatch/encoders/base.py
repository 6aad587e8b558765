"""What every vision encoder offers: its own preprocessing, its tokens, and one feature per image by a stated rule."""

import math
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar, TypedDict

import torch
from PIL import Image
from torch import Tensor, nn

from vlmatch.encoders.grids import grid_side, vectors_of
from vlmatch.encoders.layers import LayerOutput
from vlmatch.errors import VlmatchError
from vlmatch.objects import Buildable
from vlmatch.packages.availability import NO_WEIGHTS, Availability, at_path

FEATURES = ("paper", "vlm_input", "mean_patch", "gridK")
OF_LAYERS = ("cls", "global average")  # by these rules, "paper" pools any chosen layer as it pools the last one


class EncoderOptions(TypedDict, total=False):
    """The options that every encoder takes beside its own; in a yaml they are keys like all others.

    feature, layer: which feature the encoder gives, see `Encoder`. licence: name and source of the weights' licence.
    language_supervised, tokens: facts for the spec sheet of an encoder that is not in the catalogue
    (`spec_sheet.STATED`).
    """

    feature: str
    layer: int | None
    licence: Mapping[str, str] | None
    language_supervised: bool | None
    tokens: int | None


class Encoder(Buildable, nn.Module, ABC):
    """A frozen vision encoder that carries its own preprocessing.

    `feature` chooses which vector stands for an image:

    - "paper": the CLS token after the final norm and before any projection. If the model has none: the output of its
      attention pool; else the global average of its last map; else the mean patch.
    - "vlm_input": the mean of the tokens that a VLM's projector is fed (`tokens`).
    - "mean_patch": the mean of the patches after the last layer and its final norm, without CLS, as VTBenchLab computes
      it (`last_patches`).
    - "grid2" (or another digit): a mean for each of 2 x 2 cells of the tokens that a VLM's projector is fed, row by row
      in one vector.

    `layer` chooses the layer whose output gives feature and tokens, before any final norm: 1 is the first block of a
    transformer or the first stage of a convolutional network, -1 the last. "paper" is then the CLS token if the
    encoder's own rule is the CLS, else the mean patch. None: each feature is computed as listed above.

    `rule` says in words which rule applied. A subclass passes its own name and `EncoderOptions` on to this constructor.
    """

    kind: ClassVar[str] = "encoder"
    version: ClassVar[int] = 1  # raise it in a subclass when its code gives other numbers for the same yaml
    control: bool = False  # whether it knows nothing about images, so that a good score ranks it last in every pool

    def __init__(
        self,
        name: str,
        *,
        feature: str = "paper",
        layer: int | None = None,
        licence: Mapping[str, str] | None = None,
        language_supervised: bool | None = None,
        tokens: int | None = None,
    ) -> None:
        super().__init__()
        self.name = name
        self.choose(layer, feature)
        self.licence = licence  # as upstream states it; vlmatch.packages.licences prefers what the package itself says
        self.weights_sha256: str | None = None  # None: no weights, as for raw pixels

    @classmethod
    def availability(cls, settings: Mapping[str, Any]) -> Availability:
        """Where the weights are that an encoder's plain yaml names. This downloads and loads nothing.

        This default looks only for a local `checkpoint`. A class whose weights come from a package or a hub overrides
        it.
        """
        checkpoint = settings.get("checkpoint")
        return at_path(str(checkpoint)) if checkpoint else NO_WEIGHTS

    @abstractmethod
    def prepare(self, image: Image.Image) -> Tensor:
        """Preprocess one RGB image to the (c, h, w) float tensor that the model expects."""

    @abstractmethod
    def tokens(self, images: Tensor) -> Tensor:
        """Visual tokens of (n, c, h, w) prepared images: (n, t, d), without prefix tokens (CLS, registers)."""

    @abstractmethod
    def paper_feature(self, images: Tensor) -> Tensor:
        """One feature per image by the paper's rule: (n, d)."""

    def last_patches(self, images: Tensor) -> Tensor:
        """The patches after the last layer and its final norm: (n, t, d). By default, the same as `tokens`."""
        return self.tokens(images)

    @property
    @abstractmethod
    def paper_rule(self) -> str:
        """The rule that `paper_feature` follows, in words: 'cls', 'attention pool', 'global average', 'mean patch'."""

    @property
    @abstractmethod
    def preprocessing(self) -> dict[str, Any]:
        """The preprocessing as plain values (size, resize mode, mean, std, ...): it is stored with the embeddings."""

    @property
    def n_layers(self) -> int:
        """How many layers `layer` can choose from; 0: none can be chosen."""
        return 0

    def layer_outputs(self, images: Tensor, numbers: Sequence[int]) -> list[LayerOutput]:
        """The outputs of these layers, from one forward pass. numbers: of layers, from 1 to `n_layers`, ascending."""
        raise NotImplementedError

    def choose(self, layer: int | None, feature: str) -> None:
        """From now on, give this feature of this layer. Raises VlmatchError if the feature is unknown."""
        self.grid = grid_side(feature)
        if feature not in FEATURES[:-1] and self.grid is None:
            raise VlmatchError(
                f"encoder '{self.name}': feature='{feature}' is unknown; choose one of {', '.join(FEATURES)}"
            )
        self.chosen_layer, self.feature_choice = layer, feature

    @property
    def rule(self) -> str:
        """The rule that `feature` follows, in words."""
        if self.grid is not None:
            return f"VLM tokens averaged over {self.grid} x {self.grid}"
        if self.feature_choice == "vlm_input":
            return "mean VLM token"
        if self.feature_choice == "mean_patch":
            return "mean patch"
        return self.paper_rule if self.chosen_layer is None or self.paper_rule in OF_LAYERS else "mean patch"

    @property
    def features_per_image(self) -> int:
        """How many vectors the feature concatenates: 1, or the number of cells of the grid."""
        return vectors_of(self.feature_choice)

    def feature(self, images: Tensor) -> Tensor:
        """One feature per image by the chosen rule: (n, d) float."""
        if self.chosen_layer is not None:
            return self.variants(images, [(self.chosen_layer, self.feature_choice)])[0]
        if self.feature_choice == "paper":
            return self.paper_feature(images)
        if self.feature_choice == "mean_patch":
            return self.last_patches(images).mean(dim=1)
        return self._pooled(LayerOutput(self.tokens(images)), self.feature_choice)

    def variants(self, images: Tensor, wanted: Sequence[tuple[int, str]]) -> list[Tensor]:
        """Several features from one forward pass: (n, d) each. wanted: the layer and the `feature` of each.

        Raises VlmatchError on a layer that the encoder does not have.
        """
        numbers = [self._number(layer) for layer, _ in wanted]
        asked = sorted(set(numbers))
        outputs = dict(zip(asked, self.layer_outputs(images, asked), strict=True))
        return [self._pooled(outputs[number], feature) for number, (_, feature) in zip(numbers, wanted, strict=True)]

    def fed_tokens(self, images: Tensor) -> Tensor:
        """The tokens (n, t, d) that a VLM's projector is fed: those of the chosen layer, else `tokens`."""
        if self.chosen_layer is None:
            return self.tokens(images)
        return self.layer_outputs(images, [self._number(self.chosen_layer)])[0].patches

    def forward(self, images: Tensor) -> Tensor:
        """The same as `feature`; the embedding loop calls it on a batch of prepared images."""
        return self.feature(images)

    def collate(self, items: list[Tensor]) -> Tensor:
        """Stack prepared images into one batch."""
        return torch.stack(items)

    def n_parameters(self) -> int | None:
        """The number of parameters of the vision side, the part that a VLM uses; None if it is not known."""
        return sum(parameter.numel() for parameter in self.parameters())

    def _number(self, layer: int) -> int:
        """The number of a layer, counted from 1; VlmatchError if the encoder has no such layer."""
        n = self.n_layers
        if n == 0:
            raise VlmatchError(
                f"encoder '{self.name}': layer={layer}, but {type(self).__name__} has no layers to choose from; "
                "leave encoder.layer=null"
            )
        if not 1 <= abs(layer) <= n:
            raise VlmatchError(
                f"encoder '{self.name}': layer={layer}, but it has {n} layers; choose 1 to {n}, or -{n} to -1, counted "
                "from the end"
            )
        return layer if layer > 0 else n + 1 + layer

    def _pooled(self, output: LayerOutput, feature: str) -> Tensor:
        """One feature per image from a layer's output: (n, d)."""
        if (side := grid_side(feature)) is not None:
            return self._gridded(output.patches, side).flatten(1)
        if feature == "paper" and self.paper_rule == "cls" and output.cls is not None:
            return output.cls
        return output.patches.mean(dim=1)

    def _gridded(self, tokens: Tensor, side: int) -> Tensor:
        """Means of (n, t, d) tokens of a square map over side x side cells: (n, side^2, d)."""
        n, t, d = tokens.shape
        width = math.isqrt(t)
        if width**2 != t:
            raise VlmatchError(
                f"encoder '{self.name}': feature='{self.feature_choice}' needs a square grid of tokens, but this "
                f"encoder gives {t} tokens; choose feature=paper or vlm_input"
            )
        cells = nn.functional.adaptive_avg_pool2d(tokens.transpose(1, 2).reshape(n, d, width, width), side)
        return cells.flatten(2).transpose(1, 2)
