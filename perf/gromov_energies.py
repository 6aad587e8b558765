"""Energies and gaps of any solver's coupling, so that the same code measures all solvers."""

from typing import NamedTuple

import numpy as np
import ot
from numpy.typing import NDArray
from scipy.optimize import linear_sum_assignment

Array = NDArray[np.float64]

SAMPLES = 10_000_000
"""Samples for the l1 energy of a dense coupling; each is two entries of the coupling."""

_EXACT_SUPPORT = 20_000
"""The l1 energy is exact for couplings with at most this many nonzero entries; the work grows with their square."""


class Estimate(NamedTuple):
    """A number and its standard error, which is 0 if the number is exact."""

    value: float
    error: float


def half_gradient_l2(x: Array, y: Array, coupling: Array) -> Array:
    """A_ij = sum_kl (x_ik - y_jl)^2 pi_kl, for any coupling (n, n), by its own marginals."""
    squares = (x**2 @ coupling.sum(axis=1))[:, None] + (y**2 @ coupling.sum(axis=0))[None, :]
    return squares - 2 * x @ coupling @ y


def energy_l2(x: Array, y: Array, coupling: Array) -> float:
    """sum_ijkl (x_ik - y_jl)^2 pi_ij pi_kl, in float64."""
    return float(np.vdot(half_gradient_l2(x, y, coupling), coupling))


def gap_l2(x: Array, y: Array, coupling: Array) -> float:
    """max_p <2 A(pi), pi - p> over couplings p with uniform marginals, by POT's network simplex run to its end."""
    costs = half_gradient_l2(x, y, coupling)
    masses = np.ones(len(costs))
    relative = (costs - costs.min()) / (np.ptp(costs) or 1.0)
    partners = ot.emd(masses, masses, relative, numItermax=10**8).argmax(axis=1)
    best = costs[np.arange(len(costs)), partners].mean()
    return 2 * (float(np.vdot(costs, coupling)) - float(best))


def energy_l1(x: Array, y: Array, coupling: Array, seed: int = 0) -> Estimate:
    """sum_ijkl |x_ik - y_jl| pi_ij pi_kl: exact for a sparse coupling, else the mean over samples."""
    rows, columns = coupling.nonzero()
    mass = coupling[rows, columns]
    if len(mass) <= _EXACT_SUPPORT:
        total = 0.0
        for first in range(0, len(mass), 256):
            some = slice(first, first + 256)
            differences = np.abs(x[np.ix_(rows[some], rows)] - y[np.ix_(columns[some], columns)])
            total += float(mass[some] @ (differences @ mass))
        return Estimate(total, 0.0)
    random = np.random.default_rng(seed)
    edges = np.cumsum(mass) / mass.sum()
    one, other = (np.searchsorted(edges, random.random(SAMPLES)).clip(max=len(mass) - 1) for _ in range(2))
    values = np.abs(x[rows[one], rows[other]] - y[columns[one], columns[other]])
    return Estimate(float(values.mean()), float(values.std() / np.sqrt(SAMPLES)))


def rounded(coupling: Array) -> NDArray[np.intp]:
    """The permutation on whose entries the coupling has the most mass."""
    return np.asarray(linear_sum_assignment(coupling, maximize=True)[1])


def energies_at(x: Array, y: Array, permutation: NDArray[np.intp]) -> tuple[float, float]:
    """The l1 and the l2 energy of a permutation, exactly."""
    differences = x - y[np.ix_(permutation, permutation)]
    return float(np.abs(differences).mean()), float(np.square(differences).mean())


def marginal_error(coupling: Array) -> float:
    """How far the worst row or column sum is from uniform, relative to 1 / n."""
    n = len(coupling)
    return float(max(np.abs(coupling.sum(axis=axis) * n - 1).max() for axis in (0, 1)))
