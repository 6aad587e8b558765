"""Supervised training: a convolutional network classifies images by category."""

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from vlmatch_study.pretraining.augmentation import augmented
from vlmatch_study.pretraining.convnet import ConvnetObjective
from vlmatch_study.pretraining.data import PretrainingData


class Categories(ConvnetObjective):
    """A convolutional network with a linear classifier, which is not kept. Items without a category are left out."""

    def __init__(self, data: PretrainingData, **convnet: Any) -> None:
        super().__init__(data.labelled(), **convnet)
        names = [str(category) for category in self.data.categories]
        self.names = sorted(set(names))
        self.labels = torch.tensor([self.names.index(name) for name in names])
        self.classifier = nn.Linear(self.width, len(self.names))

    def loss(self, rows: list[int]) -> Tensor:
        """Cross entropy with smoothed labels."""
        view = augmented(self.data.inputs[rows].to(self.device), smallest=self.smallest, colour=self.colour)
        logits = self.classifier(self.feature(view))
        return functional.cross_entropy(logits, self.labels[rows].to(self.device), label_smoothing=0.1)

    @torch.inference_mode()
    def measures(self, held_out: PretrainingData) -> Mapping[str, float]:
        """Accuracy on held-out images, and `neighbours`; chance is the share of the commonest category."""
        neighbours = super().measures(held_out)
        asked = held_out.labelled()
        found = self.classifier(self.features(asked).to(self.device)).argmax(dim=1).tolist()
        right = [self.names[i] == true for i, true in zip(found, asked.categories, strict=True)]
        chance = neighbours["neighbours_chance"]
        return {**neighbours, "accuracy": sum(right) / len(right), "accuracy_chance": chance}
