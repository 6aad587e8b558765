"""The interface of a loss: the half gradient A at the product coupling, at any coupling, and at a sparse one.

For spaces x (n points) and y (m points) and a coupling pi::

    A(pi)_ij = sum_kl L(x_ik, y_jl) pi_kl      energy E(pi) = <A(pi), pi>      gradient 2 A(pi)

A is linear in pi: A of a weighted sum is the weighted sum of A, and a change of pi changes A by A of that change.
"""

from typing import Literal, Protocol

import numpy as np
from numpy.typing import DTypeLike, NDArray

from vlmatch.errors import VlmatchError
from vlmatch.gromov.coupling import TransportPlan, Values
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
        """A at the product coupling, and by how much its energy may be too high."""
        ...

    def at_dense(self, x: Space, y: Space, coupling: Matrix, workers: int | None) -> Values:
        """A at any coupling, exactly."""
        ...

    def moved(self, x: Space, y: Space, plan: TransportPlan, dtype: DTypeLike, workers: int | None) -> Values:
        """A of a sparse coupling, or of a difference of two, without the part that depends on the marginals alone."""
        ...

    def with_marginals(self, values: Values, x: Space, y: Space) -> Values:
        """Add the part of A that depends on the marginals alone to `values` of a whole coupling, in place."""
        ...

    def energy(self, x: Space, y: Space, permutation: NDArray[np.intp]) -> float:
        """E at a permutation of points of equal weight, computed from the differences of distances."""
        ...

    def size(self, x: Space, y: Space) -> float:
        """The scale of E, by which a gap is judged small."""
        ...


LOSSES: dict[str, Loss] = {"l1": L1(), "l2": L2()}


def loss_named(name: str) -> Loss:
    """The loss of this name; raises VlmatchError for any other name."""
    if name not in LOSSES:
        raise VlmatchError(f"loss='{name}' is unknown, wanted one of {', '.join(LOSSES)}")
    return LOSSES[name]
