"""Conditional gradient (Frank-Wolfe) for Gromov-Wasserstein between two distance matrices over n points each."""

import math
import time
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from vlmatch.errors import VlmatchError
from vlmatch.gromov import l1
from vlmatch.gromov.assignment import assign
from vlmatch.gromov.bounds import third_lower_bound
from vlmatch.gromov.coupling import Coupling, mean_at


@dataclass(frozen=True, eq=False)
class GromovWasserstein:
    """What the solver reached: a local optimum, as every tractable method gives.

    energy: E of `coupling`, in the unit of the distances. gap: max over couplings p of
    <gradient, coupling - p> >= 0, which is 0 exactly at stationary couplings. energies: E at the start
    and after each iteration, never rising. converged: whether `gap` came down to the tolerance.
    lower_bound: of `distance`, from Memoli's third; the global optimum lies in [lower_bound, distance].
    """

    coupling: Coupling
    energy: float
    gap: float
    converged: bool
    lower_bound: float
    energies: tuple[float, ...]
    seconds: float

    @property
    def distance(self) -> float:
        """E^(1/2): the number that the paper calls GW."""
        return math.sqrt(self.energy)

    @property
    def iterations(self) -> int:
        """Steps taken from the start."""
        return len(self.energies) - 1


def gromov_wasserstein(
    D_x: ArrayLike, D_y: ArrayLike, *, max_iterations: int = 1000, tolerance: float = 1e-8
) -> GromovWasserstein:
    """Minimise the l1 Gromov-Wasserstein energy over couplings with uniform marginals::

        E(pi) = sum_ijkl |D_x[i, k] - D_y[j, l]| pi_ij pi_kl

    From the product coupling, each iteration assigns points by the gradient, and moves towards that
    permutation by the exact minimum along the way, where the energy is a quadratic. It ends where the
    gap is at most `tolerance` (mean(D_x) + mean(D_y)), where rounding allows no descent, or after
    `max_iterations`; see `converged`.

    D_x, D_y: (n, n), symmetric, not negative, zero diagonal, in one unit. The product coupling can be a
    saddle: where all points of a space see the same distances it is stationary, and nothing moves.
    Deterministic. Relabelling the points leaves the energy alone unless an assignment is tied: ties are
    broken by the order of the points, which may lead to another local optimum, some 1e-4 of the energy
    away. Time O(n^3) an iteration and some 10 iterations on real embeddings, memory O(n^2).

    Raises VlmatchError for matrices that are not such distances, or of different sizes.
    Source: the paper (arXiv 2605.01325), equation for GW; conditional gradient as in Vayer et al. (2019).
    """
    started = time.perf_counter()
    x, y = _distances(D_x, "D_x"), _distances(D_y, "D_y")
    if len(x) != len(y):
        raise VlmatchError(f"D_x is {len(x)} x {len(x)} and D_y {len(y)} x {len(y)}; the solver wants equal sizes")
    coupling = Coupling.product(len(x))
    half_gradient = l1.at_product(x, y)
    energies = [coupling.mean(half_gradient)]
    resolved = tolerance * float(x.mean() + y.mean())
    while True:
        vertex = assign(half_gradient)
        slope = mean_at(half_gradient, vertex) - energies[-1]
        gap = max(0.0, -2 * slope)
        if gap <= resolved or len(energies) > max_iterations:
            break
        at_vertex = l1.at_permutation(x, y, vertex)
        step = _exact_step(slope, mean_at(at_vertex, vertex) - energies[-1])
        candidate = coupling.towards(vertex, step)
        candidate_gradient = (1 - step) * half_gradient + step * at_vertex
        energy = candidate.mean(candidate_gradient)
        if energy >= energies[-1]:
            break
        coupling, half_gradient = candidate, candidate_gradient
        energies.append(energy)
    bound = math.sqrt(third_lower_bound(x, y))
    seconds = time.perf_counter() - started
    return GromovWasserstein(coupling, energies[-1], gap, gap <= resolved, bound, tuple(energies), seconds)


def _exact_step(slope: float, change: float) -> float:
    """The a in (0, 1] that minimises the energy 2 slope a + (change - 2 slope) a^2, for slope < 0.

    slope: <A(pi), vertex - pi>, half the energy's derivative at the start. change: the energy at the
    vertex less that at pi. A concave quadratic that starts downhill has its minimum at the vertex.
    """
    curvature = change - 2 * slope
    return 1.0 if curvature <= -slope else -slope / curvature


def _distances(values: ArrayLike, name: str) -> NDArray[np.float64]:
    matrix = np.asarray(values, dtype=np.float64)
    if matrix.ndim != 2 or matrix.shape[0] != matrix.shape[1] or len(matrix) == 0:
        raise VlmatchError(f"{name} has shape {matrix.shape}, wanted n x n with n >= 1: all distances within one set")
    if not np.isfinite(matrix).all():
        raise VlmatchError(f"{name} holds NaN or infinity, wanted finite distances; check the embeddings behind it")
    if matrix.min() < 0:
        raise VlmatchError(f"{name} holds {matrix.min():.3g}, wanted distances >= 0; give distances, not similarities")
    if matrix.diagonal().any():
        raise VlmatchError(f"{name} has {matrix.diagonal().max():.3g} on its diagonal, wanted 0 there")
    if not np.allclose(matrix, matrix.T, rtol=0, atol=1e-8 * matrix.max()):
        raise VlmatchError(
            f"{name} is not symmetric (by {np.abs(matrix - matrix.T).max():.3g}), wanted D[i, k] = D[k, i]"
        )
    return matrix
