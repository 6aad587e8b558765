"""Augmentation of batches: a random crop, flip and change of colours for each image."""

import torch
from torch import Tensor
from torch.nn import functional

MEAN, STD = (1.0, 1.0, 1.0), (0.5, 0.5, 0.5)
"""White becomes 0, so zero padding continues a white background, in crops as in convolutions."""


def normalised(images: Tensor) -> Tensor:
    """(n, 3, s, s) uint8 images as float inputs."""
    return _normalised(images.float() / 255)


def augmented(images: Tensor, *, smallest: float, colour: float) -> Tensor:
    """One random view of each of (n, 3, s, s) uint8 images, normalised.

    smallest: the least side of a crop, as a fraction of the image's side. Half of the crops are flipped.
    colour: how far each channel's gain and the contrast may deviate from 1. A fifth of the images become grey. With 0
    nothing is done to the colours.
    """
    return _cropped(_normalised(_recoloured(images.float() / 255, colour)), smallest)


def _normalised(values: Tensor) -> Tensor:
    return (values - MEAN[0]) / STD[0]


def _cropped(images: Tensor, smallest: float) -> Tensor:
    n = len(images)
    side = torch.empty(n).uniform_(smallest, 1)
    # A crop may reach beyond the image by a tenth, so that things at its edge also come to the middle.
    shift = torch.empty(n, 2).uniform_(-1, 1) * (1.1 - side)[:, None]
    flip = torch.randint(0, 2, (n,)) * 2 - 1
    affine = torch.zeros(n, 2, 3)
    affine[:, 0, 0], affine[:, 1, 1], affine[:, :, 2] = side * flip, side, shift
    grid = functional.affine_grid(affine.to(images.device), list(images.shape), align_corners=False)
    return functional.grid_sample(images, grid, align_corners=False)


def _recoloured(values: Tensor, colour: float) -> Tensor:
    if colour == 0:
        return values
    n = len(values)
    gain = torch.empty(n, 3, 1, 1).uniform_(1 - colour, 1 + colour).to(values.device)
    contrast = torch.empty(n, 1, 1, 1).uniform_(1 - colour, 1 + colour).to(values.device)
    grey = (torch.rand(n, 1, 1, 1) < 0.2).to(values.device)
    values = torch.where(grey, values.mean(dim=1, keepdim=True), values)
    # Around white instead of grey: the drawing changes and the white background does not.
    return (1 - (1 - values) * contrast * gain).clamp(0, 1)
