"""A space: the distances within one set and the weights of its points, checked once and shared by all problems."""

from dataclasses import dataclass
from functools import cached_property
from typing import Any, Self

import numpy as np
from numpy.typing import ArrayLike, NDArray

from vlmatch.errors import VlmatchError, one_line

Matrix = NDArray[np.float64]
Vector = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Space:
    """A finite metric measure space: distances (n, n) and weights (n,), float64, the weights summing to 1."""

    distances: Matrix
    weights: Vector

    @classmethod
    def of(cls, distances: "ArrayLike | Space", weights: ArrayLike | None = None, *, name: str = "D") -> Self:
        """Check distances (n, n) and weights (n,), uniform by default; torch tensors are moved to the CPU.

        Raises VlmatchError, naming the argument, unless the distances are finite, symmetric, not negative and 0 on the
        diagonal, and the weights positive with sum 1. The triangle inequality is not checked.
        """
        if isinstance(distances, cls):
            if weights is not None:
                raise VlmatchError(f"{name} is a Space, which has weights of its own; give weights to Space.of instead")
            return distances
        matrix = _distances(_as_array(distances, name), name)
        return cls(matrix, _weights(weights, len(matrix), name))

    def __len__(self) -> int:
        return len(self.distances)

    @cached_property
    def uniform(self) -> bool:
        """Whether every point weighs 1 / n."""
        return bool((self.weights == self.weights[0]).all())

    @cached_property
    def single(self) -> NDArray[np.float32]:
        """The distances in single precision, for the first, coarse part of a descent."""
        return self.distances.astype(np.float32)

    @cached_property
    def eccentricities(self) -> Vector:
        """(n,): each point's weighted mean distance to all points."""
        return self.distances @ self.weights

    @cached_property
    def mean_squares(self) -> Vector:
        """(n,): each point's weighted mean squared distance to all points."""
        return np.square(self.distances) @ self.weights

    @cached_property
    def order(self) -> NDArray[np.intp]:
        """The points by eccentricity, ascending; ties keep the order of the points."""
        return np.argsort(self.eccentricities, kind="stable")

    @cached_property
    def diameter(self) -> float:
        """The largest distance."""
        return float(self.distances.max())


def equal_weights(p: Vector, q: Vector) -> bool:
    """Whether n = m and all points weigh the same, by p (n,) and q (m,): only then can a permutation be a coupling."""
    return len(p) == len(q) and bool((p == p[0]).all() and (q == q[0]).all())


def require_equal_weights(x: Space, y: Space, what: str, otherwise: str) -> None:
    """Raise VlmatchError unless both spaces have equally many points of equal weight.

    what: the computation that needs this, for the message. otherwise: the remedy, for the message.
    """
    if not equal_weights(x.weights, y.weights):
        raise VlmatchError(
            f"D_x has {len(x)} points and D_y {len(y)}{'' if x.uniform and y.uniform else ', of unequal weights'}; "
            f"{what} needs equal numbers of points of equal weight; {otherwise}"
        )


def _as_array(values: Any, name: str) -> NDArray[np.float64]:
    if hasattr(values, "detach"):  # a torch tensor, recognised without importing torch
        values = values.detach().cpu().double().numpy()  # NumPy has no bfloat16
    try:
        return np.ascontiguousarray(values, dtype=np.float64)
    except (TypeError, ValueError) as error:  # words, or rows of different lengths
        raise VlmatchError(
            f"{name} can't be turned into an array ({one_line(error)}); give numbers, in rows of equal length"
        ) from error


def _distances(matrix: Matrix, name: str) -> Matrix:
    if matrix.ndim != 2 or matrix.shape[0] != matrix.shape[1] or len(matrix) == 0:
        raise VlmatchError(f"{name} has shape {matrix.shape}, wanted n x n with n >= 1: all distances within one set")
    if not np.isfinite(matrix).all():
        raise VlmatchError(f"{name} holds NaN or infinity, wanted finite distances; check the embeddings behind it")
    if matrix.min() < 0:
        raise VlmatchError(f"{name} holds {matrix.min():.3g}, wanted distances >= 0; give distances, not similarities")
    if matrix.max() > 1e130 or 0 < matrix.max() < 1e-130:  # so that squares neither overflow nor vanish
        raise VlmatchError(f"{name} holds {matrix.max():.3g}, wanted a largest distance of 1e-130 ... 1e130; rescale")
    if matrix.diagonal().any():
        raise VlmatchError(f"{name} has {matrix.diagonal().max():.3g} on its diagonal, wanted 0 there")
    asymmetry = max(np.abs(matrix[i : i + 256] - matrix[:, i : i + 256].T).max() for i in range(0, len(matrix), 256))
    if asymmetry > 1e-6 * matrix.max():
        raise VlmatchError(f"{name} is not symmetric (by {asymmetry:.3g}), wanted D[i, k] = D[k, i]")
    return matrix


def _weights(weights: ArrayLike | None, n: int, name: str) -> Vector:
    if weights is None:
        return np.full(n, 1 / n)
    vector = _as_array(weights, f"the weights of {name}")
    if vector.shape != (n,):
        raise VlmatchError(f"the weights of {name} have shape {vector.shape}, wanted ({n},): one for each point")
    if not np.isfinite(vector).all() or vector.min() <= 0:
        raise VlmatchError(
            f"the weights of {name} hold {vector.min():.3g}, wanted positive ones; leave such points out"
        )
    if not np.isclose(vector.sum(), 1, rtol=0, atol=1e-9):
        raise VlmatchError(f"the weights of {name} sum to {vector.sum():.6g}, wanted 1; divide by their sum")
    return np.full(n, 1 / n) if (vector == vector[0]).all() else vector / vector.sum()
