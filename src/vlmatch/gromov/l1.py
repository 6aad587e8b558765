"""The l1 loss of Gromov-Wasserstein: exact gradients at the product coupling and at a permutation, on all cores.

For symmetric (n, n) matrices x and y and a coupling pi::

    A(pi)_ij = sum_kl |x_ik - y_jl| pi_kl      energy E(pi) = <A(pi), pi>      gradient 2 A(pi)

A is linear in pi, so A of a weighted combination is the weighted combination of these. Every sum is
taken in float64 over |x - y| itself, in an order that does not depend on the number of threads.
"""

import numpy as np
from numba import njit, prange
from numpy.typing import NDArray

from vlmatch.gromov.coupling import Permutation

Matrix = NDArray[np.float64]


def at_product(x: Matrix, y: Matrix) -> Matrix:
    """A at the product coupling: A_ij = (1 / n^2) sum_kl |x_ik - y_jl|, exact. Time O(n^3), memory O(n^2)."""
    order = np.argsort(y, axis=None)
    columns = (order // len(y)).astype(np.int32)
    sums: Matrix = _sums_of_distances(np.sort(x, axis=1), y.ravel()[order], columns)
    return sums / len(x) ** 2


def at_permutation(x: Matrix, y: Matrix, permutation: Permutation) -> Matrix:
    """A at a permutation: A_ij = (1 / n) sum_k |x_ik - y_j,permutation[k]|. Time O(n^3), memory O(n^2)."""
    distances: Matrix = _distances_between_rows(x, np.ascontiguousarray(y[:, permutation]))
    return distances / len(x)


@njit(parallel=True, cache=True, fastmath={"contract"})
def _sums_of_distances(x_sorted: Matrix, y_values: Matrix, y_rows: NDArray[np.int32]) -> Matrix:
    """sum_kl |x_ik - y_jl| for sorted rows of x and for all n^2 values of y, sorted, each with its row j.

    As a function of y, sum_k |x_ik - y| is linear between the values of row i: one pass over y serves all j.
    """
    n = len(x_sorted)
    sums = np.zeros((n, n))
    for i in prange(n):
        row = x_sorted[i]
        edges = np.searchsorted(y_values, row)
        total = row.sum()
        sum_below = 0.0
        first = 0
        for below in range(n + 1):
            last = edges[below] if below < n else len(y_values)
            slope = 2.0 * below - n
            intercept = total - 2 * sum_below
            for position in range(first, last):
                sums[i, y_rows[position]] += slope * y_values[position] + intercept
            first = last
            if below < n:
                sum_below += row[below]
    return sums


@njit(parallel=True, cache=True, fastmath={"contract", "reassoc"})
def _distances_between_rows(x: Matrix, y: Matrix) -> Matrix:
    """sum_k |x_ik - y_jk|: rows of x are taken four at a time, so that a row of y is read once for all four."""
    n, m = x.shape
    distances = np.empty((n, len(y)))
    for block in prange((n + 3) // 4):
        a = 4 * block
        b, c, d = min(a + 1, n - 1), min(a + 2, n - 1), min(a + 3, n - 1)
        for j in range(len(y)):
            at_a = at_b = at_c = at_d = 0.0
            for k in range(m):
                at_a += abs(x[a, k] - y[j, k])
                at_b += abs(x[b, k] - y[j, k])
                at_c += abs(x[c, k] - y[j, k])
                at_d += abs(x[d, k] - y[j, k])
            distances[a, j] = at_a
            distances[b, j] = at_b
            distances[c, j] = at_c
            distances[d, j] = at_d
    return distances
