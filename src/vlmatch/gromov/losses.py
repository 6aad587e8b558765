"""What conditional gradient asks of a loss: the half gradient A at the product, at any coupling, and at a sparse one.

For spaces x (n points) and y (m points) and a coupling pi::

    A(pi)_ij = sum_kl L(x_ik, y_jl) pi_kl      energy E(pi) = <A(pi), pi>      gradient 2 A(pi)

A is linear in pi, so A of a weighted combination is the weighted combination of these, and A changes by what moved.
"""

from typing import Literal, Protocol

import numpy as np
from numpy.typing import DTypeLike, NDArray

from vlmatch.errors import VlmatchError
from vlmatch.gromov.coupling import Plan, Values
from vlmatch.gromov.l1 import L1
from vlmatch.gromov.l2 import L2
from vlmatch.gromov.space import Matrix, Space

LossName = Literal["l1", "l2"]


class Loss(Protocol):
    """A loss L(a, b) between two distances; `workers` are the threads used, None for all cores."""

    @property
    def single_precision(self) -> bool:
        """Whether `moved` has a faster kernel for float32."""
        ...

    def at_product(self, x: Space, y: Space, workers: int | None) -> tuple[Values, float]:
        """A at the product coupling, and a bound of what its energy is too high by."""
        ...

    def at_dense(self, x: Space, y: Space, coupling: Matrix, workers: int | None) -> Values:
        """A at any coupling, exactly."""
        ...

    def moved(self, x: Space, y: Space, plan: Plan, dtype: DTypeLike, workers: int | None) -> Values:
        """What a sparse coupling, or a difference of two, adds to A beyond the part that is of the marginals alone."""
        ...

    def with_marginals(self, values: Values, x: Space, y: Space) -> Values:
        """`values` of a whole coupling, changed in place by adding the part of A that is of the marginals alone."""
        ...

    def energy(self, x: Space, y: Space, permutation: NDArray[np.intp]) -> float:
        """E at a permutation of points of equal weight, straight from the differences."""
        ...

    def size(self, x: Space, y: Space) -> float:
        """A number in the unit of E that tells which gaps are small."""
        ...


LOSSES: dict[str, Loss] = {"l1": L1(), "l2": L2()}


def loss_named(name: str) -> Loss:
    """The loss of this name; VlmatchError for any other."""
    if name not in LOSSES:
        raise VlmatchError(f"loss='{name}' is unknown, wanted one of {', '.join(LOSSES)}")
    return LOSSES[name]
