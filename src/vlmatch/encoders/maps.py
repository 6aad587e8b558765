"""Encoders that end in a map: its cells are the tokens, their global average is the feature."""

from abc import abstractmethod
from collections.abc import Mapping, Sequence
from typing import Any, Unpack

from PIL import Image
from torch import Tensor, nn

from vlmatch.encoders.base import Encoder, EncoderOptions
from vlmatch.encoders.layers import LayerOutput, TorchvisionStages, n_timm_layers, timm_layers
from vlmatch.encoders.preprocessing import Preprocessing
from vlmatch.errors import VlmatchError, one_line


class MapEncoder(Encoder):
    """An encoder that ends in a map (n, d, h, w): its cells are the tokens, their global average is the feature."""

    @abstractmethod
    def feature_map(self, images: Tensor) -> Tensor:
        """The last feature map of (n, c, size, size) prepared images: (n, d, h, w)."""

    def tokens(self, images: Tensor) -> Tensor:
        """The cells of the last map: (n, h w, d)."""
        return self.feature_map(images).flatten(2).transpose(1, 2)

    def paper_feature(self, images: Tensor) -> Tensor:
        """The global average of the last map: (n, d)."""
        return self.feature_map(images).mean(dim=(2, 3))

    @property
    def paper_rule(self) -> str:
        """The feature rule in words."""
        return "global average"


class FeatureMapEncoder(MapEncoder):
    """A `MapEncoder` whose preprocessing is described by its yaml: the keys of `Preprocessing`."""

    def __init__(self, name: str, preprocessing: Mapping[str, Any], **options: Unpack[EncoderOptions]) -> None:
        super().__init__(name, **options)
        self._preprocess = Preprocessing.of(name, preprocessing)

    def prepare(self, image: Image.Image) -> Tensor:
        """One RGB image as the model's input: (3, h, w)."""
        return self._preprocess(image)

    @property
    def preprocessing(self) -> dict[str, Any]:
        """What `prepare` does, as plain values."""
        return self._preprocess.as_dict()


class TimmMapEncoder(FeatureMapEncoder):
    """A `FeatureMapEncoder` whose `trunk` is a timm model without classifier (`timm_convnet`)."""

    trunk: Any

    def feature_map(self, images: Tensor) -> Tensor:
        """The last feature map: (n, d, h, w)."""
        features: Tensor = self.trunk.forward_features(images)
        return features

    @property
    def n_layers(self) -> int:
        """The number of its stages."""
        return n_timm_layers(self.trunk)

    def layer_outputs(self, images: Tensor, numbers: Sequence[int]) -> list[LayerOutput]:
        """The maps at the ends of stages, before the final convolution."""
        return timm_layers(self.trunk, images, numbers)


class TorchvisionMapEncoder(MapEncoder):
    """A `MapEncoder` whose `trunk` is a torchvision model up to one node; the constructor calls `build_trunk`."""

    trunk: nn.Module
    stages: TorchvisionStages

    def build_trunk(self, architecture: str, node: str) -> None:
        """Set `trunk`, untrained, and its `stages`. Raises VlmatchError as `torchvision_model` does."""
        from torchvision.models.feature_extraction import create_feature_extractor

        model = torchvision_model(self.name, architecture, node)
        self.trunk = create_feature_extractor(model, {node: "map"})
        self.stages = TorchvisionStages(model, node)

    def feature_map(self, images: Tensor) -> Tensor:
        """The last feature map: (n, d, h, w)."""
        features: Tensor = self.trunk(images)["map"]
        return features

    @property
    def n_layers(self) -> int:
        """The number of its stages: one for each resolution."""
        return len(self.stages)

    def layer_outputs(self, images: Tensor, numbers: Sequence[int]) -> list[LayerOutput]:
        """The last map of each resolution."""
        return self.stages.outputs(images, numbers)


def torchvision_model(name: str, architecture: str, node: str) -> nn.Module:
    """An untrained torchvision model; VlmatchError if the architecture is unknown or has no such node."""
    from torchvision.models import get_model

    require_torchvision(name, architecture)
    model: nn.Module = get_model(architecture, weights=None).eval()
    if node not in dict(model.named_modules()):
        children = ", ".join(child for child, _ in model.named_children())
        raise VlmatchError(
            f"encoder '{name}': node='{node}' is not a module of {architecture}; choose one of {children}, or a module "
            "inside one"
        )
    return model


def require_torchvision(name: str, architecture: str) -> None:
    """Raise VlmatchError unless torchvision knows the architecture."""
    from torchvision.models import list_models

    if architecture not in list_models():
        raise VlmatchError(
            f"encoder '{name}': architecture='{architecture}' is unknown to torchvision; see "
            "torchvision.models.list_models()"
        )


def timm_convnet(name: str, architecture: str, options: Mapping[str, Any]) -> Any:
    """An untrained timm model without classifier; VlmatchError on a name or option that timm does not know."""
    import timm

    if not timm.is_model(architecture):
        raise VlmatchError(
            f"encoder '{name}': architecture='{architecture}' is unknown to timm; see timm.list_models()"
        )
    given = {key: value if isinstance(value, str | int | float) else list(value) for key, value in options.items()}
    try:
        return timm.create_model(architecture, pretrained=False, num_classes=0, **given)
    except TypeError as error:
        raise VlmatchError(
            f"encoder '{name}': timm's {architecture} does not take options={given} ({one_line(error)[:120]}); "
            "correct encoder.options"
        ) from error
