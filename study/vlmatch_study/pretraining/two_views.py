"""Self-supervised training: two augmented views of an image must agree, by SimCLR's or by VICReg's loss."""

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from vlmatch.errors import VlmatchError
from vlmatch_study.pretraining.augmentation import augmented
from vlmatch_study.pretraining.convnet import ConvnetObjective
from vlmatch_study.pretraining.data import PretrainingData


def nt_xent(first: Tensor, second: Tensor, temperature: float = 0.2) -> Tensor:
    """SimCLR's loss (Chen et al., 2020, equation 1): each view must find its partner among the 2n - 1 others.

    first, second: (n, d) projections of two views of the same n images.
    """
    views = functional.normalize(torch.cat([first, second]))
    similarities = views @ views.T / temperature
    similarities.fill_diagonal_(-torch.inf)
    partner = torch.arange(len(views), device=views.device).roll(len(first))
    return functional.cross_entropy(similarities, partner)


def vicreg(first: Tensor, second: Tensor) -> Tensor:
    """VICReg's loss (Bardes et al., 2022, equation 6, with its weights 25, 25, 1).

    It rewards equal views, a variance of at least 1 in each dimension, and no covariance between dimensions.
    first, second: (n, d) projections of two views of the same n images.
    """

    def spread(views: Tensor) -> Tensor:
        variance = functional.relu(1 - (views.var(dim=0) + 1e-4).sqrt()).mean()
        covariance = torch.cov(views.T)
        off_diagonal = covariance.square().sum() - covariance.diagonal().square().sum()
        return 25 * variance + off_diagonal / views.shape[1]

    return 25 * functional.mse_loss(first, second) + spread(first) + spread(second)


LOSSES = {"nt_xent": nt_xent, "vicreg": vicreg}


class TwoViews(ConvnetObjective):
    """A convolutional network with a projector, which is not kept.

    agreement: 'nt_xent' (SimCLR) or 'vicreg'. projection: width of the projector's two layers.
    """

    def __init__(self, data: PretrainingData, *, agreement: str, projection: int, **convnet: Any) -> None:
        super().__init__(data, **convnet)
        if agreement not in LOSSES:
            raise VlmatchError(
                f"pretrain.objective.agreement='{agreement}' is unknown; choose one of {', '.join(LOSSES)}"
            )
        self.agreement = LOSSES[agreement]
        self.projector = nn.Sequential(
            nn.Linear(self.width, projection),
            nn.BatchNorm1d(projection),
            nn.ReLU(),
            nn.Linear(projection, projection),
        )

    def loss(self, rows: list[int]) -> Tensor:
        """The loss of two views of each image in the batch."""
        images = self.data.inputs[rows].to(self.device)
        views = [augmented(images, smallest=self.smallest, colour=self.colour) for _ in range(2)]
        first, second = self.projector(self.feature(torch.cat(views))).chunk(2)
        return self.agreement(first, second)
