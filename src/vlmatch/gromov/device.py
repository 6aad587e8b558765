"""Half gradients at sparse couplings, by torch on a device."""

from weakref import WeakKeyDictionary

import numpy as np
import torch
from numpy.typing import DTypeLike

from vlmatch.errors import VlmatchError
from vlmatch.gromov.coupling import TransportPlan, Values
from vlmatch.gromov.losses import LossName
from vlmatch.gromov.space import Space


class OnDevice:
    """Computes the O(n^3) part of a descent, A at a sparse coupling, on a torch device.

    The device holds the distances of both spaces, in each precision that was used, and two more matrices during a
    computation.
    """

    def __init__(self, loss: LossName, device: str | torch.device) -> None:
        try:
            self.device = torch.device(device)
            torch.zeros(1, dtype=torch.float64, device=self.device).cpu()
        except (RuntimeError, AssertionError, NotImplementedError, TypeError) as error:
            reason = str(error).splitlines()[0]
            raise VlmatchError(f"device='{device}' can't be used ({reason}); leave it out for the CPU") from error
        self._kernel = _KERNELS[loss]
        self._there: WeakKeyDictionary[Space, dict[torch.dtype, torch.Tensor]] = WeakKeyDictionary()

    def moved(self, x: Space, y: Space, plan: TransportPlan, dtype: DTypeLike, workers: int | None) -> Values:
        """As `Loss.moved`, by torch.cdist (l1) or a matrix product (l2); the result is on the CPU."""
        precision = torch.float32 if dtype == np.float32 else torch.float64
        a = self._on_device(x, precision)[:, torch.from_numpy(plan.rows).to(self.device)]
        b = self._on_device(y, precision)[:, torch.from_numpy(plan.columns).to(self.device)]
        mass = torch.from_numpy(plan.mass).to(self.device, precision)
        values: Values = self._kernel(a, b, mass).cpu().numpy()
        return values

    def _on_device(self, space: Space, precision: torch.dtype) -> torch.Tensor:
        there = self._there.setdefault(space, {})
        if precision not in there:
            distances = space.single if precision == torch.float32 else space.distances
            there[precision] = torch.from_numpy(distances).to(self.device)
        return there[precision]


def _l1(a: torch.Tensor, b: torch.Tensor, mass: torch.Tensor) -> torch.Tensor:
    """sum_t mass_t |a_it - b_jt| for a (n, k) and b (m, k); torch.cdist itself takes no weights."""
    total = a.new_zeros((len(a), len(b)))
    for sign in (1, -1):
        part = (sign * mass > 0).nonzero()[:, 0]
        if len(part):
            scale = mass[part].abs()
            total += sign * torch.cdist(a[:, part] * scale, b[:, part] * scale, p=1)
    return total


def _l2(a: torch.Tensor, b: torch.Tensor, mass: torch.Tensor) -> torch.Tensor:
    """-2 sum_t mass_t a_it b_jt."""
    return (a * (-2 * mass)) @ b.T


_KERNELS = {"l1": _l1, "l2": _l2}
