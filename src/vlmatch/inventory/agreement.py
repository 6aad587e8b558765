"""How well a forward pass in bfloat16 keeps the order of distances that single precision gives."""

from typing import Any

import torch
from torch import Tensor


def precision_agreement(model: Any, inputs: Any) -> float:
    """Kendall's tau-b between the angles of all pairs of items, embedded in bfloat16 and in single precision.

    model: an encoder or LLM on its device. inputs: a collated batch of 3 items or more, on the same device.
    1: every two distances are in the same order; NaN where all angles are equal.
    """
    from scipy.stats import kendalltau

    device = next((parameter.device for parameter in model.parameters()), torch.device("cpu"))
    with torch.inference_mode():
        single = model(inputs)
        with torch.autocast(device.type, dtype=torch.bfloat16):
            half = model(inputs)
    return float(kendalltau(_cosines(single), _cosines(half)).statistic)


def _cosines(embedded: Tensor) -> Any:
    """Of every two rows once, in double precision: they order as the angles do, reversed."""
    rows = torch.nn.functional.normalize(embedded.detach().double().cpu(), dim=1)
    first, second = torch.triu_indices(len(rows), len(rows), offset=1)
    return (rows @ rows.T)[first, second].numpy()
