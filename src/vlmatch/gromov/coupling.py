"""Couplings of two sets of points, stored as conditional gradient builds them: a weighted start and vertices."""

from dataclasses import dataclass
from typing import Self

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.optimize import linear_sum_assignment

from vlmatch.errors import VlmatchError
from vlmatch.gromov.space import equal_weights

Permutation = NDArray[np.intp]
"""sigma, (n,): point i of the first set goes to point sigma[i] of the second."""

Values = NDArray[np.float32] | NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class TransportPlan:
    """A sparse coupling, or a difference of two: `mass[t]` goes from point rows[t] to point columns[t]; all (k,)."""

    rows: NDArray[np.intp]
    columns: NDArray[np.intp]
    mass: NDArray[np.float64]

    @classmethod
    def of_permutation(cls, permutation: Permutation) -> Self:
        """The plan that sends the whole mass 1 / n of each of n points to its own partner."""
        n = len(permutation)
        return cls(np.arange(n), permutation, np.full(n, 1 / n))

    @classmethod
    def of_dense(cls, coupling: NDArray[np.float64]) -> Self:
        """The entries of an (n, m) array that are not 0."""
        rows, columns = coupling.nonzero()
        return cls(rows, columns, coupling[rows, columns])

    def __len__(self) -> int:
        return len(self.mass)

    def sum_of(self, values: Values) -> float:
        """sum_t values[rows[t], columns[t]] mass[t], in float64."""
        return float(values[self.rows, self.columns].astype(np.float64) @ self.mass)

    def minus(self, other: Self) -> Self:
        """The mass that must move to get from `other` to this plan; entries that both share are left out."""
        width = 1 + max(self.columns.max(), other.columns.max())
        keys = np.concatenate([self.rows * width + self.columns, other.rows * width + other.columns])
        unique, where = np.unique(keys, return_inverse=True)
        mass = np.zeros(len(unique))
        np.add.at(mass, where, np.concatenate([self.mass, -other.mass]))
        moved = mass.nonzero()
        return type(self)(unique[moved] // width, unique[moved] % width, mass[moved])


@dataclass(frozen=True, eq=False)
class Coupling:
    """A convex combination of a start and of vertices of the transport polytope, over n x m points::

        pi = start_weight start + sum_k weights[k] plans[k]

    p (n,) and q (m,) are the marginals; `start` is an (n, m) coupling, or None for the product p q^T. The
    weights are not negative and sum to 1, so the marginals hold by construction.
    """

    p: NDArray[np.float64]
    q: NDArray[np.float64]
    start_weight: float = 1.0
    start: NDArray[np.float64] | None = None
    weights: tuple[float, ...] = ()
    plans: tuple[TransportPlan, ...] = ()

    @classmethod
    def of_plan(cls, p: NDArray[np.float64], q: NDArray[np.float64], plan: TransportPlan) -> Self:
        """The coupling that consists of one vertex."""
        return cls(p, q, 0.0, None, (1.0,), (plan,))

    @property
    def shape(self) -> tuple[int, int]:
        """n, m."""
        return len(self.p), len(self.q)

    @property
    def permutation(self) -> Permutation | None:
        """sigma, (n,), if the coupling is a permutation of n points of weight 1 / n; else None."""
        plan = self.plans[0] if len(self.plans) == 1 and self.start_weight == 0 else None
        if (
            plan is None
            or not equal_weights(self.p, self.q)
            or len(plan) != len(self.p)
            or (plan.rows != np.arange(len(plan))).any()
        ):
            return None
        return plan.columns if len(np.unique(plan.columns)) == len(self.p) else None

    def towards(self, plan: TransportPlan, step: float) -> Self:
        """(1 - step) times this coupling plus step times `plan`, 0 <= step <= 1."""
        if step == 1:
            return self.of_plan(self.p, self.q, plan)
        kept = tuple((1 - step) * weight for weight in self.weights)
        start_weight = (1 - step) * self.start_weight
        return type(self)(self.p, self.q, start_weight, self.start, (*kept, step), (*self.plans, plan))

    def sum_of(self, values: Values) -> float:
        """sum_ij values_ij pi_ij for values of shape (n, m); the product needs no dense coupling."""
        total = 0.0
        if self.start_weight:
            start = self.p @ values @ self.q if self.start is None else np.vdot(values, self.start)
            total += self.start_weight * float(start)
        return total + sum(weight * plan.sum_of(values) for weight, plan in zip(self.weights, self.plans, strict=True))

    def dense(self) -> NDArray[np.float64]:
        """The coupling as an (n, m) array with row sums p and column sums q."""
        start = np.outer(self.p, self.q) if self.start is None else self.start
        coupling: NDArray[np.float64] = self.start_weight * start
        for weight, plan in zip(self.weights, self.plans, strict=True):
            np.add.at(coupling, (plan.rows, plan.columns), weight * plan.mass)
        return coupling

    def rounded(self) -> Permutation:
        """The permutation, (n,), that shares most mass with the coupling. Time O(n^3), or O(n) if it is a permutation.

        Raises VlmatchError for sets of unequal size.
        """
        if len(self.p) != len(self.q):
            raise VlmatchError(f"a coupling of {len(self.p)} x {len(self.q)} points has no permutation to round to")
        if self.permutation is not None:
            return self.permutation
        permutation: Permutation = linear_sum_assignment(self.dense(), maximize=True)[1]
        return permutation


def checked_coupling(
    values: ArrayLike | Coupling, p: NDArray[np.float64], q: NDArray[np.float64], *, name: str
) -> Coupling:
    """A caller's coupling: an (n, m) array with marginals p and q, a permutation (n,) of whole numbers, or a Coupling.

    Raises VlmatchError, naming the argument, if it is none of them.
    """
    array = np.asarray(values.dense() if isinstance(values, Coupling) else values)
    if array.ndim == 1 and np.issubdtype(array.dtype, np.integer):
        if len(array) != len(p) or not np.array_equal(np.sort(array), np.arange(len(q))):
            raise VlmatchError(
                f"{name} of shape {array.shape} is not a permutation between {len(p)} points of D_x and {len(q)} of "
                f"D_y; give each of 0 ... {len(q) - 1} once, or an array of both sizes"
            )
        if not np.allclose(q[array], p, rtol=0, atol=1e-12):
            raise VlmatchError(
                f"{name} is a permutation, but pairs points of different weights; give a coupling instead"
            )
        return Coupling.of_plan(p, q, TransportPlan(np.arange(len(p)), array.astype(np.intp), p))
    if array.shape != (len(p), len(q)):
        raise VlmatchError(
            f"{name} has shape {array.shape}, wanted a coupling of ({len(p)}, {len(q)}), points of D_x by D_y, "
            "or a permutation of whole numbers"
        )
    dense = array.astype(np.float64)
    error = max(np.abs(dense.sum(axis=1) - p).max(), np.abs(dense.sum(axis=0) - q).max())
    if not (dense.min() >= 0 and error <= 1e-9 and dense.any(axis=1).all()):
        raise VlmatchError(
            f"{name} has a least entry of {dense.min():.3g} and marginals off by {error:.3g}, wanted a coupling: "
            "entries >= 0 with the weights of D_x as row sums and those of D_y as column sums"
        )
    if isinstance(values, Coupling):
        return values
    vertex_like = np.count_nonzero(dense) <= len(p) + len(q) - 1
    return Coupling.of_plan(p, q, TransportPlan.of_dense(dense)) if vertex_like else Coupling(p, q, 1.0, dense)
