"""Convolutional encoders whose weights come from TensorFlow.js models, computed by timm's architectures."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Unpack

import torch
from torch import Tensor, nn

from vlmatch.encoders.convnets import renamed
from vlmatch.encoders.keras_weights import read_keras, shards
from vlmatch.encoders.maps import TimmMapEncoder, timm_convnet
from vlmatch.encoders.packaged import PackagedEncoder, PackagedOptions
from vlmatch.encoders.weights import load_strictly
from vlmatch.errors import VlmatchError, enumerated

EPSILON = 1e-3  # Keras' default in batch norms


class KerasConvnet(TimmMapEncoder, PackagedEncoder):
    """A timm convnet with the weights of a Keras model, whose layers are matched in the order in which Keras made them.

    architecture, options: timm's name, and what makes it compute as TensorFlow does, e.g. {pad_type: same}.
    order: pairs of a regular expression for a whole name in the file and its replacement 'PLACE/PART'. PLACE is one or
    more whole numbers joined by dots. When the places are sorted, the k-th place belongs to the k-th convolution. PART
    is kernel, or one of gamma, beta, moving_mean and moving_variance of the norm that follows. A missing gamma is 1; if
    the moments are missing, the norm was folded into the kernel. Names that no expression matches are left out.
    package and file, or checkpoint: the script of a TensorFlow.js model (its shards lie beside it), or an .h5 file.
    """

    def __init__(
        self,
        name: str,
        *,
        architecture: str,
        order: Sequence[Sequence[str]],
        preprocessing: Mapping[str, Any],
        options: Mapping[str, Any] | None = None,
        **common: Unpack[PackagedOptions],
    ) -> None:
        super().__init__(name, preprocessing, **common)
        self.trunk = timm_convnet(name, architecture, options or {})
        state = in_order(name, renamed(read_keras(name, self.weight_path), order), self.trunk)
        load_strictly(name, self.trunk, state, self.weight_path)
        leave_out_padding(self.trunk)
        self.eval()

    def weight_files(self) -> list[Path]:
        """The script and its shards, or the .h5 file."""
        path = self.weight_path
        return [path] if path.suffix == ".h5" else [path, *shards(self.name, path)]


def in_order(name: str, parts: Mapping[str, Tensor], trunk: nn.Module) -> dict[str, Tensor]:
    """The state of `trunk`: its k-th convolution and k-th norm get the tensors of the k-th place in 'PLACE/PART' names.

    Raises VlmatchError if the numbers of convolutions differ, or a place lacks its kernel.
    """
    places = sorted({key.partition("/")[0] for key in parts}, key=lambda place: [int(n) for n in place.split(".")])
    modules = list(trunk.named_modules())
    convolutions = [key for key, module in modules if isinstance(module, nn.Conv2d)]
    norms = [key for key, module in modules if isinstance(module, nn.BatchNorm2d)]
    if lacking := [place for place in places if f"{place}/kernel" not in parts]:
        raise VlmatchError(
            f"encoder '{name}': `order` gives place {lacking[0]} no kernel, only "
            f"{enumerated(sorted(key for key in parts if key.startswith(f'{lacking[0]}/')))}; give it one, or another "
            "place to these"
        )
    if len(places) != len(convolutions):
        raise VlmatchError(
            f"encoder '{name}': the file has {len(places)} convolutions, but {type(trunk).__name__} has "
            f"{len(convolutions)}; check `architecture`, `options` and `order`"
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
    """Correct a 3 x 3 mean that counted the padding's zeros: TensorFlow's mean is over the cells of the map alone."""

    def forward(self, pooled: Tensor) -> Tensor:
        """(n, c, h, w) -> (n, c, h, w); the values at the border grow."""
        ones = torch.ones(1, 1, *pooled.shape[2:], dtype=pooled.dtype, device=pooled.device)
        return pooled / nn.functional.avg_pool2d(ones, kernel_size=3, stride=1, padding=1)


def leave_out_padding(trunk: nn.Module) -> None:
    """Correct the average pools of timm's Inception blocks; each is followed by the module `branch_pool`."""
    for block in list(trunk.modules()):
        after_pool = getattr(block, "branch_pool", None)
        if isinstance(after_pool, nn.Module):
            block.branch_pool = nn.Sequential(MeanWithoutPadding(), after_pool)
