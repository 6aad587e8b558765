"""Training of a small convolutional network of timm: its feature, its figures, and how its weights are kept."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from vlmatch.encoders.maps import timm_convnet
from vlmatch_study.pretraining.augmentation import normalised
from vlmatch_study.pretraining.data import PretrainingData
from vlmatch_study.pretraining.kept import WEIGHTS, write_halves
from vlmatch_study.pretraining.measures import nearest_neighbours
from vlmatch_study.pretraining.objective import Objective


class ConvnetObjective(Objective):
    """An objective whose encoder is a convolutional network; `vlmatch_study.trained_convnet` loads its weights.

    architecture, options: arguments of `timm.create_model`. smallest, colour: see `augmentation.augmented`.
    """

    def __init__(
        self,
        data: PretrainingData,
        *,
        architecture: str,
        options: Mapping[str, Any] | None = None,
        smallest: float,
        colour: float,
        **training: Any,
    ) -> None:
        super().__init__(data, **training)
        self.smallest, self.colour = smallest, colour
        self.trunk = timm_convnet("pretrain.objective", architecture, options or {})
        with torch.inference_mode():
            self.width = int(self.trunk.eval().forward_features(normalised(data.inputs[:2])).shape[1])
        self.trunk.train()

    def feature(self, images: Tensor) -> Tensor:
        """The global average of the last map of normalised images: (n, d)."""
        feature_map: Tensor = self.trunk.forward_features(images.contiguous(memory_format=torch.channels_last))
        return feature_map.mean(dim=(2, 3))

    @torch.inference_mode()
    def measures(self, held_out: PretrainingData) -> Mapping[str, float]:
        """How well the nearest training images predict the category of held-out images."""
        self.eval()
        known, asked = self.data.labelled(), held_out.labelled()
        names, truth = [str(c) for c in known.categories], [str(c) for c in asked.categories]
        return nearest_neighbours(self.features(known), names, self.features(asked), truth)

    def features(self, data: PretrainingData) -> Tensor:
        """Features (n, d) of all items, without augmentation."""
        batches = [self.feature(normalised(part.to(self.device))) for part in torch.split(data.inputs, self.batch_size)]
        return torch.cat(batches).cpu()

    def write(self, folder: Path) -> None:
        """Write the network, without the layers that only the objective needs."""
        write_halves(folder / WEIGHTS, self.trunk.state_dict())
