"""A convolutional autoencoder: the image is reconstructed from the encoder's last feature map."""

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from vlmatch.errors import VlmatchError
from vlmatch_study.pretraining.augmentation import augmented, normalised
from vlmatch_study.pretraining.convnet import ConvnetObjective
from vlmatch_study.pretraining.data import PretrainingData


class Autoencoder(ConvnetObjective):
    """A convolutional network, and a decoder of its last feature map; the decoder is not kept.

    decoder: channels of the decoder's layers. Each layer doubles the map's side; together they reach the image's side.
    Raises VlmatchError if they do not.
    """

    def __init__(self, data: PretrainingData, *, decoder: list[int], **convnet: Any) -> None:
        super().__init__(data, **convnet)
        with torch.inference_mode():
            side = int(self.trunk.eval().forward_features(normalised(data.inputs[:1])).shape[-1])
        self.trunk.train()
        if side * 2 ** len(decoder) != data.inputs.shape[-1]:
            raise VlmatchError(
                f"pretrain.objective.decoder={decoder}: {len(decoder)} layers turn a map of {side} "
                f"pixels into {side * 2 ** len(decoder)}; wanted {data.inputs.shape[-1]}: one layer doubles the side"
            )
        layers: list[nn.Module] = []
        for d, h in zip([self.width, *decoder[:-1]], decoder, strict=True):
            layers += [nn.ConvTranspose2d(d, h, 4, stride=2, padding=1), nn.BatchNorm2d(h), nn.ReLU()]
        self.decoder = nn.Sequential(*layers, nn.Conv2d(decoder[-1], 3, 3, padding=1))

    def loss(self, rows: list[int]) -> Tensor:
        """Mean squared error of the reconstructed views."""
        images = self.data.inputs[rows].to(self.device)
        return self._error(augmented(images, smallest=self.smallest, colour=self.colour))

    @torch.inference_mode()
    def measures(self, held_out: PretrainingData) -> Mapping[str, float]:
        """The reconstruction error on held-out images, and `neighbours` as for every convolutional network."""
        neighbours = super().measures(held_out)
        return {**neighbours, "reconstruction": float(self._error(normalised(held_out.inputs.to(self.device))))}

    def _error(self, images: Tensor) -> Tensor:
        feature_map = self.trunk.forward_features(images.contiguous(memory_format=torch.channels_last))
        return functional.mse_loss(self.decoder(feature_map), images)
