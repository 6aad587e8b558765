"""Distance matrices to try the solver on, and what it computes, written out over all four indices."""

import numpy as np
from scipy.spatial.distance import cdist

LOSSES = {"l1": np.abs, "l2": np.square}
"""L(a, b) as a function of a - b."""


def cloud(n: int, dimension: int, seed: int) -> np.ndarray:
    """Distances (n, n) within random points: no two alike."""
    points = np.random.default_rng(seed).normal(size=(n, dimension))
    return cdist(points, points)


def grid(n: int, dimension: int, seed: int) -> np.ndarray:
    """Distances (n, n) within points of a small grid: many tied, and 0 where points coincide."""
    points = np.random.default_rng(seed).integers(3, size=(n, dimension)).astype(float)
    return cdist(points, points, "cityblock")


def equidistant(n: int, side: float) -> np.ndarray:
    """All distances (n, n) equal."""
    return side * (1 - np.eye(n))


def octagon() -> np.ndarray:
    """Distances (8, 8) of the corners, each of which sees the others as every other does."""
    corners = np.exp(2j * np.pi * np.arange(8) / 8)
    around = np.abs(corners - corners[0])
    return around[(np.arange(8)[:, None] - np.arange(8)) % 8]


def weights(n: int, seed: int) -> np.ndarray:
    """Unequal weights (n,) that sum to 1."""
    return np.random.default_rng(seed).dirichlet(np.full(n, 3.0))


def relabelled(matrix: np.ndarray, order: np.ndarray) -> np.ndarray:
    """The matrix whose point i is point order[i] of the given one."""
    return matrix[np.ix_(order, order)]


def half_gradient(x: np.ndarray, y: np.ndarray, coupling: np.ndarray, loss: str) -> np.ndarray:
    """A_ij = sum_kl L(x_ik, y_jl) pi_kl."""
    return np.einsum("ijkl,kl->ij", LOSSES[loss](x[:, None, :, None] - y[None, :, None, :]), coupling)


def energy(x: np.ndarray, y: np.ndarray, coupling: np.ndarray, loss: str) -> float:
    """E = sum_ijkl L(x_ik, y_jl) pi_ij pi_kl."""
    return float((half_gradient(x, y, coupling, loss) * coupling).sum())


def size(x: np.ndarray, y: np.ndarray, p: np.ndarray, q: np.ndarray, loss: str) -> float:
    """The mean losses of both spaces against 0, together: the unit in which gaps are small."""
    return float(p @ LOSSES[loss](x) @ p + q @ LOSSES[loss](y) @ q)
