"""Convolutional encoders whose weights come from TensorFlow.js models, computed by timm's architectures."""

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from vlmatch.encoders.convnets import TimmMapEncoder, renamed, timm_convnet
from vlmatch.encoders.keras_weights import read_keras, shards
from vlmatch.encoders.weights import load_strictly, sha256_of, weight_file
from vlmatch.errors import VlmatchError

EPSILON = 1e-3  # Keras' default in batch norms


class KerasConvnet(TimmMapEncoder):
    """A timm convnet with the weights of a Keras model, whose layers are matched in the order of their making.

    architecture, options: timm's name, and what makes it compute as TensorFlow does, e.g. {pad_type: same}.
    order: pairs of a regular expression for a whole name in the file and its replacement 'PLACE/PART'. PLACE is
    whole numbers with dots between and says which convolution it is, in sorted order; PART is kernel, or of the
    norm that follows gamma, beta, moving_mean or moving_variance. Where gamma is missing it is 1; where the
    moments are missing the norm was folded into the kernel. Names that none matches are left out.
    package and file: the script of the TensorFlow.js model, unless `checkpoint` gives a local one.
    """

    def __init__(
        self,
        name: str,
        *,
        architecture: str,
        order: Sequence[Sequence[str]],
        preprocessing: Mapping[str, Any],
        options: Mapping[str, Any] | None = None,
        package: Mapping[str, str] | None = None,
        file: str | None = None,
        checkpoint: str | None = None,
        feature: str = "paper",
        licence: Mapping[str, str] | None = None,
    ) -> None:
        super().__init__(name, preprocessing, feature=feature, licence=licence)
        path = weight_file(name, package, file, checkpoint)
        self.trunk = timm_convnet(name, architecture, options or {})
        state = in_order(name, renamed(read_keras(name, path), order), self.trunk)
        load_strictly(name, self.trunk, state, path)
        leave_out_padding(self.trunk)
        self.weights_sha256 = sha256_of([path, *shards(name, path)])
        self.eval()


def in_order(name: str, parts: Mapping[str, Tensor], trunk: nn.Module) -> dict[str, Tensor]:
    """The state of `trunk` whose k-th convolution and k-th norm are those of the k-th place among 'PLACE/PART' names.

    Raises VlmatchError where the numbers of convolutions differ, or a place lacks its kernel.
    """
    places = sorted({key.partition("/")[0] for key in parts}, key=lambda place: [int(n) for n in place.split(".")])
    modules = list(trunk.named_modules())
    convolutions = [key for key, module in modules if isinstance(module, nn.Conv2d)]
    norms = [key for key, module in modules if isinstance(module, nn.BatchNorm2d)]
    if len(places) != len(convolutions) or any(f"{place}/kernel" not in parts for place in places):
        raise VlmatchError(
            f"encoder '{name}': the file has {len(places)} convolutions, {type(trunk).__name__} {len(convolutions)}; "
            "check `architecture`, `options` and `order`"
        )
    state = {key: value for key, value in trunk.state_dict().items() if key.endswith("num_batches_tracked")}
    for place, convolution, norm in zip(places, convolutions, norms, strict=True):
        ones = torch.ones(len(parts[f"{place}/kernel"]))
        state[f"{convolution}.weight"] = parts[f"{place}/kernel"]
        state[f"{norm}.weight"] = parts.get(f"{place}/gamma", ones)
        state[f"{norm}.bias"] = parts[f"{place}/beta"]
        state[f"{norm}.running_mean"] = parts.get(f"{place}/moving_mean", 0 * ones)
        state[f"{norm}.running_var"] = parts.get(f"{place}/moving_variance", (1 - EPSILON) * ones)
    return state


class MeanWithoutPadding(nn.Module):
    """Turns a 3 x 3 mean that counted the padding's zeros into one over the cells of the map, as TensorFlow's is."""

    def forward(self, pooled: Tensor) -> Tensor:
        """(n, c, h, w) -> (n, c, h, w), larger at the border."""
        ones = torch.ones(1, 1, *pooled.shape[2:], dtype=pooled.dtype, device=pooled.device)
        return pooled / nn.functional.avg_pool2d(ones, kernel_size=3, stride=1, padding=1)


def leave_out_padding(trunk: nn.Module) -> None:
    """Correct the average pools of timm's Inception blocks, each of which is followed by `branch_pool`."""
    for block in list(trunk.modules()):
        after_pool = getattr(block, "branch_pool", None)
        if isinstance(after_pool, nn.Module):
            block.branch_pool = nn.Sequential(MeanWithoutPadding(), after_pool)
