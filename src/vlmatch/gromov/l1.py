"""The l1 loss |a - b|: exact half gradients by compiled kernels on all cores, without O(n^3) memory."""

import numpy as np
from numba import njit
from numpy.typing import DTypeLike, NDArray

from vlmatch.gromov.coupling import TransportPlan, Values
from vlmatch.gromov.space import Matrix, Space, Vector
from vlmatch.gromov.threads import over_rows

GRID = 512
"""Cells between 0 and the largest distance, in which the gradient at the product coupling is interpolated."""


_FEW = 256
"""With fewer terms than this, a sum is faster along the other axis."""


class L1:
    """L(a, b) = |a - b|; E in the unit of the distances."""

    single_precision = True

    def at_product(self, x: Space, y: Space, workers: int | None) -> tuple[Values, float]:
        """A at the product coupling, from one matrix product of n x GRID by GRID x m values. Time O(nm GRID).

        A_ij = sum_l q_l f_i(y_jl) with f_i(t) = sum_k p_k |x_ik - t|, which is linear except at the distances of row i.
        f_i is exact at the edges of the cells and interpolated between them. It is never too low, and too high by at
        most half a cell where x_ik lies in the cell of y_jl. So the energy is too high by at most the second result::

            half a cell * sum over cells (share of x's distances there) (share of y's distances there)
        """
        top = max(x.diameter, y.diameter)
        if top == 0:
            return np.zeros((len(x), len(y))), 0.0
        cell = top / GRID
        heights, hats = np.empty((len(x), GRID + 1)), np.zeros((len(y), GRID + 1))
        shares_x, shares_y = np.zeros((len(x), GRID)), np.zeros((len(y), GRID))

        def heights_of(first: int, last: int) -> None:
            _mean_distances_to_edges(x.distances, x.weights, cell, heights, shares_x, first, last)

        def hats_of(first: int, last: int) -> None:
            _split_over_edges(y.distances, y.weights, cell, hats, shares_y, first, last)

        over_rows(heights_of, len(x), workers)
        over_rows(hats_of, len(y), workers)
        return heights @ hats.T, float(cell / 2 * (x.weights @ shares_x) @ (y.weights @ shares_y))

    def at_dense(self, x: Space, y: Space, coupling: Matrix, workers: int | None) -> Values:
        """A at any coupling, exactly, by merging sorted rows of x and y. Time O(nm (n + m)), memory O(nm)."""
        order_x, order_y = np.argsort(x.distances, axis=1), np.argsort(y.distances, axis=1)
        by_column = np.ascontiguousarray(coupling.T)
        sums = np.zeros((len(x), len(y)))

        def share(first: int, last: int) -> None:
            _merge_rows(x.distances, y.distances, order_x, order_y, by_column, sums, first, last)

        over_rows(share, len(x), workers)
        return sums

    def with_marginals(self, values: Values, x: Space, y: Space) -> Values:
        """`values` as they are: no part of A depends on the marginals alone."""
        return values

    def moved(self, x: Space, y: Space, plan: TransportPlan, dtype: DTypeLike, workers: int | None) -> Values:
        """A_ij = sum_t mass_t |x_i,rows[t] - y_j,columns[t]|. Time O(nm) for each entry of the plan."""
        single = dtype == np.float32
        a, b = (x.single, y.single) if single else (x.distances, y.distances)
        return city_block(_columns(a, plan.rows), _columns(b, plan.columns), plan.mass, workers)

    def energy(self, x: Space, y: Space, permutation: NDArray[np.intp]) -> float:
        """The mean of |x_ik - y_permutation[i],permutation[k]|. Time O(n^2)."""
        paired = y.distances[np.ix_(permutation, permutation)]
        return float(np.abs(np.subtract(x.distances, paired, out=paired), out=paired).mean())

    def size(self, x: Space, y: Space) -> float:
        """The sum of the mean distances of both spaces."""
        return float(x.eccentricities @ x.weights + y.eccentricities @ y.weights)


def city_block(a: Values, b: Values, mass: Vector, workers: int | None = None) -> Values:
    """sum_t mass[t] |a[i, t] - b[j, t]| for a (n, k), b (m, k) and mass (k,), in the dtype of a: (n, m)."""
    few = len(mass) < _FEW
    rows, others = np.ascontiguousarray(a), np.ascontiguousarray(b.T if few else b)
    scales = mass.astype(a.dtype)
    sums = np.empty((len(a), len(b)), a.dtype)
    kernel = _city_block_of_few if few else _city_block_of_many

    def share(first: int, last: int) -> None:
        kernel(rows, others, scales, sums, first, last)

    over_rows(share, len(a), workers)
    return sums


def _columns(values: Values, wanted: NDArray[np.intp]) -> Values:
    """These columns; the array itself, without a copy, if they are all columns in order."""
    all_of_them = len(wanted) == values.shape[1] and (wanted == np.arange(len(wanted))).all()
    return values if all_of_them else values[:, wanted]


@njit(nogil=True, cache=True, fastmath={"contract", "reassoc", "nsz"})
def _city_block_of_many(x: Values, y: Values, mass: Values, sums: Values, first: int, last: int) -> None:
    """Sum in tiles of 4 rows of x by 2 of y, so that a loaded value serves several sums; groups of y stay in cache."""
    zero = x.dtype.type(0)
    for group in range(0, len(y), 32):
        for i in range(first, last, 4):
            a, b, c, d = i, min(i + 1, last - 1), min(i + 2, last - 1), min(i + 3, last - 1)
            row_a, row_b, row_c, row_d = x[a], x[b], x[c], x[d]
            for j in range(group, min(len(y), group + 32), 2):
                k = min(j + 1, len(y) - 1)
                row_j, row_k = y[j], y[k]
                aj = bj = cj = dj = ak = bk = ck = dk = zero
                for t in range(len(mass)):
                    at_j, at_k, m = row_j[t], row_k[t], mass[t]
                    at_a, at_b, at_c, at_d = row_a[t], row_b[t], row_c[t], row_d[t]
                    aj += m * abs(at_a - at_j)
                    bj += m * abs(at_b - at_j)
                    cj += m * abs(at_c - at_j)
                    dj += m * abs(at_d - at_j)
                    ak += m * abs(at_a - at_k)
                    bk += m * abs(at_b - at_k)
                    ck += m * abs(at_c - at_k)
                    dk += m * abs(at_d - at_k)
                sums[a, j], sums[b, j], sums[c, j], sums[d, j] = aj, bj, cj, dj
                sums[a, k], sums[b, k], sums[c, k], sums[d, k] = ak, bk, ck, dk


@njit(nogil=True, cache=True, fastmath={"contract", "nsz"})
def _city_block_of_few(x: Values, y: Values, mass: Values, sums: Values, first: int, last: int) -> None:
    """Sum for transposed y, (k, m), along its rows, because sums over few t are too short to vectorise."""
    terms = len(mass)
    for i in range(first, last):
        sums[i] = 0
        for t in range(0, terms, 4):
            u, v, w = min(t + 1, terms - 1), min(t + 2, terms - 1), min(t + 3, terms - 1)
            none = x.dtype.type(0)
            m_t, m_u, m_v, m_w = mass[t], mass[u], mass[v], mass[w]
            if t + 1 >= terms:
                m_u = none
            if t + 2 >= terms:
                m_v = none
            if t + 3 >= terms:
                m_w = none
            at_t, at_u, at_v, at_w = x[i, t], x[i, u], x[i, v], x[i, w]
            row_t, row_u, row_v, row_w = y[t], y[u], y[v], y[w]
            for j in range(y.shape[1]):
                first_two = m_t * abs(at_t - row_t[j]) + m_u * abs(at_u - row_u[j])
                sums[i, j] += first_two + (m_v * abs(at_v - row_v[j]) + m_w * abs(at_w - row_w[j]))


@njit(nogil=True, cache=True)
def _mean_distances_to_edges(
    x: Matrix, p: Vector, cell: float, heights: Matrix, shares: Matrix, first: int, last: int
) -> None:
    """sum_k p_k |x_ik - edge| at every edge of the cells, and each row's share of weight in each cell."""
    cells = shares.shape[1]
    sums = np.empty(cells)
    for i in range(first, last):
        sums[:] = 0
        total = 0.0
        for k in range(len(p)):
            place = min(int(x[i, k] / cell), cells - 1)
            shares[i, place] += p[k]
            sums[place] += p[k] * x[i, k]
            total += p[k] * x[i, k]
        share_below = sum_below = 0.0
        heights[i, 0] = total
        for place in range(cells):
            share_below += shares[i, place]
            sum_below += sums[place]
            heights[i, place + 1] = (place + 1) * cell * (2 * share_below - 1) + total - 2 * sum_below


@njit(nogil=True, cache=True)
def _split_over_edges(y: Matrix, q: Vector, cell: float, hats: Matrix, shares: Matrix, first: int, last: int) -> None:
    """Each distance's weight split over both edges of its cell, and each row's share of weight in each cell."""
    cells = shares.shape[1]
    for j in range(first, last):
        for k in range(len(q)):
            place = y[j, k] / cell
            low = min(int(place), cells - 1)
            hats[j, low] += q[k] * (low + 1 - place)
            hats[j, low + 1] += q[k] * (place - low)
            shares[j, low] += q[k]


@njit(nogil=True, cache=True)
def _merge_rows(
    x: Matrix,
    y: Matrix,
    order_x: NDArray[np.intp],
    order_y: NDArray[np.intp],
    by_column: Matrix,
    sums: Matrix,
    first: int,
    last: int,
) -> None:
    """sums_ij = sum_kc |x_ik - y_jc| pi_kc: for each i and c, merge the sorted rows x_i and y_c, weighted by pi_.c."""
    n, m = len(x), len(y)
    for i in range(first, last):
        for c in range(m):
            mass = total = 0.0
            for k in range(n):
                mass += by_column[c, k]
                total += by_column[c, k] * x[i, k]
            share_below = sum_below = 0.0
            position = 0
            for rank in range(m):
                j = order_y[c, rank]
                at = y[c, j]
                while position < n and x[i, order_x[i, position]] <= at:
                    k = order_x[i, position]
                    share_below += by_column[c, k]
                    sum_below += by_column[c, k] * x[i, k]
                    position += 1
                sums[i, j] += at * (2 * share_below - mass) + total - 2 * sum_below
