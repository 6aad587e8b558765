"""The linear step: the vertex of the transport polytope with the least cost, and a lower bound by duality."""

from typing import NamedTuple

import numpy as np

from vlmatch.errors import VlmatchError
from vlmatch.gromov.assignment import assign, dual_bound, duals_along
from vlmatch.gromov.coupling import Permutation, TransportPlan, Values
from vlmatch.gromov.space import Space, Vector, equal_weights

_MAX_PIVOTS = 10**8


class Vertex(NamedTuple):
    """A vertex, and `bound`: if `precise`, a lower bound of every coupling's cost, from the vertex's dual values."""

    plan: TransportPlan
    bound: float


class Transport:
    """Solves min_p <costs, p> over the couplings of two spaces, repeatedly, for costs that change little.

    For equal numbers of points of equal weight this is an assignment, warm-started from the last dual values. The first
    two times, when costs change most, it starts from dual values along the order of eccentricities, with the last
    vertex (at first `guess`) as partners. Other sizes and weights use POT's network simplex.
    """

    def __init__(self, x: Space, y: Space, guess: Permutation | None = None) -> None:
        self.x, self.y = x, y
        self.by_assignment = equal_weights(x.weights, y.weights)
        self._guess = guess
        self._duals: Vector | None = None
        self._solved = 0

    def towards(self, costs: Values, *, precise: bool = True) -> Vertex:
        """The vertex of least cost, for (n, m) costs. Raises VlmatchError if the simplex stops before its optimum."""
        if not self.by_assignment:
            return self._by_simplex(costs.astype(np.float64, copy=False))
        if self._guess is None:
            self._guess = matched_in_order(self.x, self.y)
        if self._solved < 2:
            self._duals = duals_along(costs, self.x.order, self._guess)
        permutation, self._duals = assign(costs, duals=self._duals, guess=self._guess, precise=precise)
        self._guess = permutation
        self._solved += 1
        plan = TransportPlan.of_permutation(permutation)
        if not precise:
            return Vertex(plan, plan.sum_of(costs))
        return Vertex(plan, dual_bound(costs, self._duals, self.x.weights, self.y.weights))

    def _by_simplex(self, costs: Values) -> Vertex:
        import ot  # here, because it imports torch, which takes seconds and 400 MB; equal weights don't need it

        size = float(np.ptp(costs)) or 1.0  # POT's tolerance is absolute
        flow, log = ot.emd(
            self.x.weights, self.y.weights, (costs - costs.min()) / size, numItermax=_MAX_PIVOTS, log=True
        )
        if log["warning"] is not None:
            raise VlmatchError(
                f"transport of {costs.shape[0]} x {costs.shape[1]} costs stopped before its optimum "
                f"({log['warning']}); check the distances for values far apart in size"
            )
        return Vertex(TransportPlan.of_dense(flow), dual_bound(costs, log["v"] * size, self.x.weights, self.y.weights))


def matched_in_order(x: Space, y: Space) -> Permutation:
    """The permutation, (n,), that matches points of equal weight in the order of their eccentricities."""
    partners = np.empty(len(x), np.intp)
    partners[x.order] = y.order
    return partners
