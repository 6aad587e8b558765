"""A 2-exchange local search: two points swap their partners while that lowers the energy of a permutation."""

from dataclasses import dataclass

import numpy as np
from numba import njit

from vlmatch.errors import VlmatchError
from vlmatch.gromov.coupling import Permutation
from vlmatch.gromov.losses import LossName, loss_named
from vlmatch.gromov.space import Matrix, Space, Vector, require_equal_weights

_RESOLUTION = 1e-12
"""A swap must lower E by more than this share of `Loss.size`.

Rounding errors are far smaller. Without this limit, they could make the search swap back and forth without end.
"""


@dataclass(frozen=True, eq=False)
class Exchanged:
    """The result of the swaps: a permutation (n,), its energy E, and the number of swaps."""

    permutation: Permutation
    energy: float
    swaps: int


def two_exchange(
    x: Space,
    y: Space,
    permutation: Permutation,
    gradient: Matrix,
    *,
    loss: LossName = "l1",
    max_swaps: int = 100_000,
) -> Exchanged:
    """Swap the partners of two points until no swap lowers E by more than 1e-12 of `Loss.size`, the scale of E.

    permutation: sigma, (n,), between spaces of n points of equal weight. gradient: the half gradient A at
    sigma, (n, n). Swapping sigma(i) = a and sigma(k) = b changes the coupling by Q: 1/n at (i, b) and (k, a),
    -1/n at (i, a) and (k, b). A is linear and symmetric, so::

        E' - E = 2 <A, Q> + <A(Q), Q>
               = 2/n (A_ib + A_ka - A_ia - A_kb) + 4/n^2 (L(x_ik, y_ab) - L(x_ik, 0) - L(0, y_ab))
               = 2/n (A_ib + A_ka - A_ia - A_kb) - 8/n^2 c      c = min(x_ik, y_ab) for l1, x_ik y_ab for l2

    A permutation at which conditional gradient stops has <A, Q> >= 0 for all Q. The second term is never positive,
    so swaps can still improve this permutation. Evaluating a swap is cheap. Making one is expensive, because all of A
    changes. So each point in turn looks for its best swap, and moves on to the other point's best swap while that is
    better; a swap is made only if it is the best one for both of its points.

    The result is never worse than the input: E is recomputed from the distances, and if the gradient was too
    inaccurate, the input is returned with 0 swaps. Stops after `max_swaps`; random starts need about 2 n swaps.
    Deterministic, one thread, without the interpreter's lock. Time O(n^2) for each swap and each sweep, memory O(n^2).

    Raises VlmatchError for spaces of unequal size or weights, and for arrays that do not fit them.
    Source: 2-exchange for quadratic assignment: Burkard, Dell'Amico, Martello (2009), Assignment Problems, chapter 8.
    """
    _check(x, y, permutation, gradient)
    rule = loss_named(loss)
    start = rule.energy(x, y, permutation)
    sigma, half_gradient = np.array(permutation, dtype=np.intp), np.array(gradient, dtype=np.float64, order="C")
    resolved = _RESOLUTION * rule.size(x, y) * len(x) / 2
    swaps = int(_exchange(x.distances, y.distances, half_gradient, sigma, loss == "l1", resolved, max_swaps))
    energy = rule.energy(x, y, sigma)
    return Exchanged(sigma, energy, swaps) if energy < start else Exchanged(permutation, start, 0)


def _check(x: Space, y: Space, permutation: Permutation, gradient: Matrix) -> None:
    n = len(x)
    require_equal_weights(x, y, "local search", "give local_search=False")
    if np.shape(permutation) != (n,) or (np.sort(permutation) != np.arange(n)).any():
        raise VlmatchError(f"permutation of shape {np.shape(permutation)} does not hold each of 0 ... {n - 1} once")
    if np.shape(gradient) != (n, n):
        raise VlmatchError(f"gradient has shape {np.shape(gradient)}, wanted ({n}, {n}): A at the permutation")


@njit(nogil=True, cache=True)
def _exchange(
    x: Matrix, y: Matrix, half_gradient: Matrix, sigma: Permutation, is_l1: bool, resolved: float, max_swaps: int
) -> int:
    """Change sigma and half_gradient in place until n points in a row have no swap to make; return the swaps."""
    n = len(sigma)
    changes = np.empty(n)
    swaps = idle = turn = 0
    while idle < n and swaps < max_swaps:
        i = turn
        changes_of_swaps(x, y, half_gradient, sigma, i, is_l1, changes)
        k = int(changes.argmin())
        best = changes[k]
        if best < -resolved:
            while True:
                changes_of_swaps(x, y, half_gradient, sigma, k, is_l1, changes)
                other = int(changes.argmin())
                if changes[other] >= best:
                    break
                best, i, k = changes[other], k, other
            _swap(x, y, half_gradient, sigma, i, k, is_l1)
            swaps += 1
            idle = 0
        else:
            idle += 1
        turn = (turn + 1) % n
    return swaps


@njit(nogil=True, cache=True, fastmath={"contract", "reassoc", "nsz"})
def changes_of_swaps(
    x: Matrix, y: Matrix, half_gradient: Matrix, sigma: Permutation, i: int, is_l1: bool, changes: Vector
) -> None:
    """Set changes[k], (n,), to n / 2 times the change of E when i and k swap partners; O(n)."""
    n = len(sigma)
    a, weight = sigma[i], 4 / n
    for k in range(n):
        b = sigma[k]
        common = min(x[i, k], y[a, b]) if is_l1 else x[i, k] * y[a, b]
        first = half_gradient[i, b] + half_gradient[k, a] - half_gradient[i, a] - half_gradient[k, b]
        changes[k] = first - weight * common


@njit(nogil=True, cache=True, fastmath={"contract", "reassoc", "nsz"})
def _swap(x: Matrix, y: Matrix, half_gradient: Matrix, sigma: Permutation, i: int, k: int, is_l1: bool) -> None:
    """Swap the partners a of i and b of k, and update the half gradient in O(n^2).

    With L(x_pi, t) - L(x_pk, t) = h_p(t), A_pj changes by (h_p(y_jb) - h_p(y_ja)) / n. For l2, h_p(t) is
    -2 (x_pi - x_pk) t up to a constant. For l1 it is, up to a constant and a sign, 2 t clipped to the range between
    x_pi and x_pk, increasing if x_pi < x_pk.
    """
    n = len(sigma)
    a, b = sigma[i], sigma[k]
    from_a, from_b = y[a], y[b]
    for p in range(n):
        at_i, at_k, row = x[i, p], x[k, p], half_gradient[p]
        if is_l1:
            low, high = min(at_i, at_k), max(at_i, at_k)
            slope = 2 / n if at_i < at_k else -2 / n
            for j in range(n):
                row[j] += slope * (min(max(from_b[j], low), high) - min(max(from_a[j], low), high))
        else:
            slope = 2 / n * (at_k - at_i)
            for j in range(n):
                row[j] += slope * (from_b[j] - from_a[j])
    sigma[i], sigma[k] = b, a
