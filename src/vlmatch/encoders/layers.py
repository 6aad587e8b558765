"""The layers of a vision tower: blocks of a transformer, stages of a convolutional network, as its library has them."""

from collections.abc import Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

PROBING_SIZE = 64  # side, in pixels, of the image that shows which modules of a torchvision model reduce the resolution


class LayerOutput(NamedTuple):
    """What one layer gives for n images: the patches or cells (n, t, d), and the CLS token (n, d) if there is one."""

    patches: Tensor
    cls: Tensor | None = None


def of_map(feature_map: Tensor) -> LayerOutput:
    """The cells of a map (n, d, h, w) as a layer's output."""
    return LayerOutput(feature_map.flatten(2).transpose(1, 2))


def n_timm_layers(trunk: Any) -> int:
    """How many layers a timm model has: blocks of a transformer, stages of a convolutional network."""
    return len(trunk.feature_info)


def timm_layers(trunk: Any, images: Tensor, numbers: Sequence[int]) -> list[LayerOutput]:
    """The outputs of layers of a timm model, before any final norm. numbers: from 1, ascending."""
    indices = [number - 1 for number in numbers]
    if not hasattr(trunk, "num_prefix_tokens"):
        maps = trunk.forward_intermediates(
            images, indices=indices, output_fmt="NCHW", intermediates_only=True, stop_early=True
        )
        return [of_map(each) for each in maps]
    found = trunk.forward_intermediates(
        images,
        indices=indices,
        output_fmt="NLC",
        return_prefix_tokens=True,
        intermediates_only=True,
        stop_early=True,
    )
    has_cls = getattr(trunk, "cls_token", None) is not None
    pairs = [each if isinstance(each, tuple) else (each, None) for each in found]
    return [LayerOutput(patches, prefix[:, 0] if has_cls and prefix is not None else None) for patches, prefix in pairs]


def n_open_clip_layers(visual: Any) -> int:
    """How many layers an open_clip tower has."""
    if hasattr(visual, "trunk"):
        return n_timm_layers(visual.trunk)
    return len(visual.transformer.resblocks) if hasattr(visual, "transformer") else 5  # a ResNet: stem and four stages


def open_clip_layers(visual: Any, images: Tensor, numbers: Sequence[int]) -> list[LayerOutput]:
    """The outputs of layers of an open_clip tower, before any final norm. numbers: from 1, ascending."""
    if hasattr(visual, "trunk"):
        return timm_layers(visual.trunk, images, numbers)
    indices = [number - 1 for number in numbers]
    if not hasattr(visual, "transformer"):
        found = visual.forward_intermediates(images, indices=indices, intermediates_only=True)
        return [of_map(each) for each in found["image_intermediates"]]
    found = visual.forward_intermediates(
        images,
        indices=indices,
        output_fmt="NLC",
        output_extra_tokens=True,
        intermediates_only=True,
        stop_early=True,
    )
    outputs = zip(found["image_intermediates"], found["image_intermediates_prefix"], strict=True)
    return [LayerOutput(patches, prefix[:, 0]) for patches, prefix in outputs]


class TorchvisionStages:
    """The stages of a torchvision model up to a node: the last map of each resolution, between its blocks.

    The stages share the model's weights. They are found at the first use, by one forward pass of a small image.
    """

    def __init__(self, model: nn.Module, node: str) -> None:
        self.model, self.node = model, node
        self._stages: nn.Module | None = None
        self._names: list[str] = []

    def __len__(self) -> int:
        self._find()
        return len(self._names)

    def outputs(self, images: Tensor, numbers: Sequence[int]) -> list[LayerOutput]:
        """The maps of stages. numbers: from 1."""
        maps = self._find()(images)
        return [of_map(maps[self._names[number - 1]]) for number in numbers]

    @torch.no_grad()
    def _find(self) -> nn.Module:
        from torchvision.models.feature_extraction import create_feature_extractor

        if self._stages is None:
            candidates = _blocks(self.model, self.node)
            device = next(self.model.parameters()).device
            image = torch.zeros(1, 3, PROBING_SIZE, PROBING_SIZE, device=device)
            shown = create_feature_extractor(self.model, {name: name for name in candidates}).eval()(image)
            last = {shown[name].shape[2:]: name for name in candidates if shown[name].ndim == 4}
            self._names = list(last.values())
            self._stages = create_feature_extractor(self.model, {name: name for name in self._names}).eval()
        return self._stages


def _blocks(model: nn.Module, node: str) -> list[str]:
    """The names of a model's parts up to `node`, in order; a sequence counts as its members."""
    from torchvision.models.feature_extraction import get_graph_node_names

    names = []
    for name, child in model.named_children():
        inner = [f"{name}.{each}" for each, _ in child.named_children()] if isinstance(child, nn.Sequential) else []
        names += inner or [name]
    run = get_graph_node_names(model)[1]
    names = [name for name in names if any(f"{each}.".startswith(f"{name}.") for each in run)]
    last = max(place for place, name in enumerate(names) if f"{name}.".startswith(f"{node}."))
    return names[: last + 1]
