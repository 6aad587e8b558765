"""How well bfloat16 keeps the order of distances."""

import pytest
import torch
from torch import nn

from vlmatch.inventory.agreement import precision_agreement


class Reversing(nn.Module):
    """Three directions in the plane; the nearest two in single precision are the farthest in bfloat16."""

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        angles = torch.tensor([0.0, 1.0, 0.05] if torch.is_autocast_enabled("cpu") else [0.0, 0.1, 1.0])
        return torch.stack([angles.cos(), angles.sin()], dim=1)


def test_agreement_of_two_precisions() -> None:
    torch.manual_seed(0)
    assert precision_agreement(nn.Identity(), torch.randn(9, 4)) == pytest.approx(1)
    assert precision_agreement(Reversing(), torch.randn(3, 4)) == pytest.approx(-1)
    layers = nn.Sequential(nn.Linear(8, 32), nn.GELU(), nn.Linear(32, 16))
    assert 0.8 < precision_agreement(layers, torch.randn(20, 8)) < 1
