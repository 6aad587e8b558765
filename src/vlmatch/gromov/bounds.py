"""Lower bounds of the Gromov-Wasserstein energy: with one, a local optimum becomes an interval for the global one.

The three bounds of Memoli (2011), "Gromov-Wasserstein distances and the metric approach to object matching", section 6,
for both losses L: l1, |a - b|, and l2, (a - b)^2. Each returns an energy, in the unit of E::

    E(pi) = sum_ijkl L(x_ik, y_jl) pi_ij pi_kl >= third >= first, second

so its root bounds the distance. D_x (n, n) and D_y (m, m) hold the distances x_ik and y_jl, or are a `Space`; p (n,)
and q (m,) are the weights of their points, None for uniform. W(a, b) below is the least cost, by L, of moving weighted
values a to weighted values b on the line; the optimum couples them in sorted order. The bounds are exact: no
regularisation, float64 throughout. They raise VlmatchError for an unknown loss, and for distances or weights that
`Space.of` refuses.
"""

from collections.abc import Callable
from functools import partial
from typing import Literal

import numpy as np
from numba import njit
from numpy.typing import ArrayLike

from vlmatch.errors import VlmatchError
from vlmatch.gromov.coupling import TransportPlan
from vlmatch.gromov.l1 import city_block
from vlmatch.gromov.losses import LossName, loss_named
from vlmatch.gromov.space import Matrix, Space, Vector
from vlmatch.gromov.threads import over_rows
from vlmatch.gromov.transport import Transport

BoundName = Literal["first", "second", "third"]


def first_lower_bound(
    D_x: ArrayLike | Space,
    D_y: ArrayLike | Space,
    p: ArrayLike | None = None,
    q: ArrayLike | None = None,
    *,
    loss: LossName = "l1",
) -> float:
    """W between the eccentricities of the points: e_i = sum_k p_k x_ik for l1, (sum_k p_k x_ik^2)^(1/2) for l2.

    l1 holds by the triangle inequality: sum_kl |x_ik - y_jl| pi_kl >= |e_i - e_j|.
    l2 holds by Minkowski's inequality: sum_kl (x_ik - y_jl)^2 pi_kl >= (e_i - e_j)^2.
    Time O(n^2 + m^2).
    """
    x, y = _spaces(D_x, D_y, p, q, loss)
    a, b = (space.eccentricities if loss == "l1" else np.sqrt(space.mean_squares) for space in (x, y))
    return _on_the_line(a, b, _weights(x), _weights(y), loss)


def second_lower_bound(
    D_x: ArrayLike | Space,
    D_y: ArrayLike | Space,
    p: ArrayLike | None = None,
    q: ArrayLike | None = None,
    *,
    loss: LossName = "l1",
) -> float:
    """W between all n^2 entries of D_x, x_ik with weight p_i p_k, and all m^2 entries of D_y.

    It is a bound because pi x pi couples them. It depends on the distribution of distances only.
    Time O(n^2 log n + m^2 log m), memory O(n^2 + m^2).
    """
    x, y = _spaces(D_x, D_y, p, q, loss)
    p_of_pairs, q_of_pairs = (
        None if space.uniform else np.outer(space.weights, space.weights).ravel() for space in (x, y)
    )
    return _on_the_line(x.distances.ravel(), y.distances.ravel(), p_of_pairs, q_of_pairs, loss)


def third_lower_bound(
    D_x: ArrayLike | Space,
    D_y: ArrayLike | Space,
    p: ArrayLike | None = None,
    q: ArrayLike | None = None,
    *,
    loss: LossName = "l1",
    workers: int | None = None,
) -> float:
    """The best coupling of points by W between their rows::

        TLB = min_pi sum_ij W(x_i, y_j) pi_ij

    It is a bound because sum_kl L(x_ik, y_jl) pi_kl >= W(x_i, y_j), as pi couples p and q. It is never below the first
    bound, because W(x_i, y_j) >= L(e_i, e_j), nor below the second, because the best couplings of rows, mixed by pi,
    are a coupling of all entries. Time O(n m (n + m)) and a transport problem of n x m costs, memory O((n + m)^2);
    uniform weights are several times faster. workers: threads (None: all cores); BLAS, used for l2, has its own
    setting. Raises VlmatchError also if the transport stops before its optimum.
    """
    x, y = _spaces(D_x, D_y, p, q, loss)
    return rows_matched(x, y, loss, workers)[0]


def lower_bound_named(name: str, workers: int | None = None) -> Callable[..., float]:
    """The bound of this name, as a function like `first_lower_bound`; raises VlmatchError for any other name."""
    bounds: dict[str, Callable[..., float]] = {
        "first": first_lower_bound,
        "second": second_lower_bound,
        "third": partial(third_lower_bound, workers=workers),
    }
    if name not in bounds:
        raise VlmatchError(f"lower_bound='{name}' is unknown, wanted one of {', '.join(bounds)}")
    return bounds[name]


def rows_matched(x: Space, y: Space, loss: LossName, workers: int | None = None) -> tuple[float, TransportPlan]:
    """The third lower bound of E and the coupling of points that attains it; see `third_lower_bound`."""
    if x.uniform and y.uniform:
        return _uniform_rows_matched(x, y, loss, workers)
    costs = _costs_of_rows(x, y, loss, workers)
    plan = Transport(x, y).towards(costs).plan
    return plan.sum_of(costs), plan


def _uniform_rows_matched(x: Space, y: Space, loss: LossName, workers: int | None) -> tuple[float, TransportPlan]:
    """For uniform weights, quantile functions of rows step at known levels, so W is a weighted distance of vectors.

    BLAS rounds relative to the size of the rows, not of their difference. So BLAS only chooses the coupling, and the
    value is computed from the differences themselves.
    """
    n, m = len(x), len(y)
    levels = np.union1d(np.arange(1, n + 1) * m, np.arange(1, m + 1) * n)
    mass = np.diff(levels, prepend=0) / (n * m)
    a = np.take(np.sort(x.distances, axis=1), (levels - 1) // m, axis=1)
    b = np.take(np.sort(y.distances, axis=1), (levels - 1) // n, axis=1)
    costs = city_block(a, b, mass, workers) if loss == "l1" else _squared_distances(a, b, mass)
    plan = Transport(x, y).towards(costs).plan
    differences = a[plan.rows] - b[plan.columns]
    return float(plan.mass @ ((np.abs(differences) if loss == "l1" else differences**2) @ mass)), plan


def _squared_distances(a: Matrix, b: Matrix, mass: Vector) -> Matrix:
    """sum_t mass[t] (a_it - b_jt)^2, (n, m), by BLAS, after removing the mean that all rows share."""
    centre, roots = a.mean(axis=0), np.sqrt(mass)
    a, b = (a - centre) * roots, (b - centre) * roots
    costs: Matrix = a @ (-2 * b).T
    costs += np.square(a).sum(axis=1)[:, None]
    costs += np.square(b).sum(axis=1)
    return np.maximum(costs, 0, out=costs)


def _costs_of_rows(x: Space, y: Space, loss: LossName, workers: int | None) -> Matrix:
    """W(x_i, y_j), (n, m), for any weights: quantile functions step at different levels, so each pair is merged."""
    (x_rows, x_levels), (y_rows, y_levels) = _sorted(x.distances, _weights(x)), _sorted(y.distances, _weights(y))
    costs = np.empty((len(x), len(y)))

    def share(first: int, last: int) -> None:
        _merge(x_rows, x_levels, y_rows, y_levels, loss == "l2", costs, first, last)

    over_rows(share, len(x), workers)
    return costs


def _on_the_line(a: Vector, b: Vector, p: Vector | None, q: Vector | None, loss: LossName) -> float:
    """W between values a with weights p and values b with weights q."""
    cost = np.empty((1, 1))
    _merge(*_sorted(a[None], p), *_sorted(b[None], q), loss == "l2", cost, 0, 1)
    return float(cost[0, 0])


def _sorted(rows: Matrix, weights: Vector | None) -> tuple[Matrix, Matrix]:
    """Each row in ascending order, and the cumulative weights of its values, which end at 1."""
    if weights is None:
        n = rows.shape[1]
        return np.sort(rows, axis=1), np.full(rows.shape, np.arange(1, n + 1) / n)
    order = np.argsort(rows, axis=1)
    levels = np.cumsum(weights[order], axis=1)
    return np.take_along_axis(rows, order, axis=1), levels / levels[:, -1:]


@njit(nogil=True, cache=True)
def _merge(
    x: Matrix, x_levels: Matrix, y: Matrix, y_levels: Matrix, squared: bool, costs: Matrix, first: int, last: int
) -> None:
    """costs_ij = the integral over u in [0, 1] of L(x_i(u), y_j(u)), x_i(u) being the first value of level >= u.

    Each step passes the value of lower level in one of the rows, without a branch that the processor could mispredict.
    Four rows of y are merged side by side, because each step waits for the one before.
    """
    place, reached, total = np.zeros(4, np.int64), np.zeros(4), np.zeros(4)
    end = y.shape[1] - 1
    for i in range(first, last):
        for group in range(0, len(y), 4):
            place[:] = 0
            reached[:] = 0
            total[:] = 0
            for step in range(x.shape[1] + end):
                for lane in range(4):
                    j, k = min(group + lane, len(y) - 1), place[lane]
                    l = step - k  # noqa: E741 - as in y_jl
                    level = min(x_levels[i, k], y_levels[j, l])
                    difference = x[i, k] - y[j, l]
                    cost = difference * difference if squared else abs(difference)
                    total[lane] += (level - reached[lane]) * cost
                    reached[lane] = level
                    place[lane] = k + ((x_levels[i, k] < y_levels[j, l]) | (l == end))
            for lane in range(min(4, len(y) - group)):
                costs[i, group + lane] = total[lane]


def _spaces(
    D_x: ArrayLike | Space, D_y: ArrayLike | Space, p: ArrayLike | None, q: ArrayLike | None, loss: str
) -> tuple[Space, Space]:
    loss_named(loss)
    return Space.of(D_x, p, name="D_x"), Space.of(D_y, q, name="D_y")


def _weights(space: Space) -> Vector | None:
    """None for uniform weights: the levels are then exact, and no order of the points is needed."""
    return None if space.uniform else space.weights
