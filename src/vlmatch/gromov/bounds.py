"""Lower bounds of the l1 Gromov-Wasserstein energy: no coupling is better, so a local optimum becomes an interval.

All of Memoli (2011), "Gromov-Wasserstein distances and the metric approach to object matching", section 6, for
uniform weights; energies in the unit of the distances, as E itself: take the root to bound `distance`.
"""

import numpy as np
from numpy.typing import NDArray

from vlmatch.gromov import l1
from vlmatch.gromov.assignment import assign
from vlmatch.gromov.coupling import mean_at

Matrix = NDArray[np.float64]


def first_lower_bound(x: Matrix, y: Matrix) -> float:
    """The Wasserstein distance on the line between the eccentricities (row means) of two (n, n) matrices.

    Holds because sum_kl |x_ik - y_jl| pi_kl >= |mean_k x_ik - mean_l y_jl|. Time O(n^2).
    """
    return float(np.abs(np.sort(x.mean(axis=1)) - np.sort(y.mean(axis=1))).mean())


def second_lower_bound(x: Matrix, y: Matrix) -> float:
    """The Wasserstein distance on the line between all n^2 entries of one matrix and of the other.

    Holds because pi x pi couples them. It sees the distribution of distances only. Time O(n^2 log n).
    """
    return float(np.abs(np.sort(x, axis=None) - np.sort(y, axis=None)).mean())


def third_lower_bound(x: Matrix, y: Matrix) -> float:
    """The best assignment of points by the Wasserstein distance on the line between their rows::

        TLB = min_sigma mean_i W(x_i, y_sigma(i))

    Holds because sum_kl |x_ik - y_jl| pi_kl >= W(x_i, y_j). At least as high as the first and the second.
    Time O(n^3), memory O(n^2).
    """
    costs = l1.at_permutation(np.sort(x, axis=1), np.sort(y, axis=1), np.arange(len(x)))
    return mean_at(costs, assign(costs))
