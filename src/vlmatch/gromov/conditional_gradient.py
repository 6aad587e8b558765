"""Conditional gradient (Frank-Wolfe) for Gromov-Wasserstein, from a coupling to a certified stationary one."""

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
from numpy.typing import DTypeLike

from vlmatch.gromov.coupling import Coupling, TransportPlan, Values
from vlmatch.gromov.losses import Loss
from vlmatch.gromov.space import Space
from vlmatch.gromov.transport import Transport
from vlmatch.gromov.watching import tell

Moved = Callable[[Space, Space, TransportPlan, DTypeLike, int | None], Values]
"""`Loss.moved`, or a function that computes the same on another device."""


class Descent(NamedTuple):
    """The state of a descent: `half_gradient` is A of `coupling`, (n, m); `energies` so far; `gap` at the last step.

    grid_error: by how much the energy of a product start may be too high.
    """

    coupling: Coupling
    half_gradient: Values
    energies: tuple[float, ...] = ()
    gap: float = np.inf
    grid_error: float = 0.0


class Problem:
    """Two spaces and a loss; computes half gradients, each from the last one if little mass has moved.

    moved: computes A at a sparse coupling; None: the loss does.
    """

    def __init__(self, loss: Loss, x: Space, y: Space, workers: int | None, moved: Moved | None = None) -> None:
        self.loss, self.x, self.y, self.workers = loss, x, y, workers
        self._moved = moved or loss.moved
        self._last: tuple[TransportPlan, Values] | None = None

    @property
    def coarse(self) -> bool:
        """Whether single precision is faster and can represent these distances."""
        return self.loss.single_precision and 1e-30 < max(self.x.diameter, self.y.diameter) < 1e30

    def at_plan(self, plan: TransportPlan, dtype: DTypeLike) -> Values:
        """A at a vertex: from the last vertex's A if it has this dtype and that is less work, else from scratch."""
        if self._last is not None and self._last[1].dtype == dtype:
            change = plan.minus(self._last[0])
            if len(change) < len(plan):
                values = self._moved(self.x, self.y, change, dtype, self.workers)
                values += self._last[1]
                self._last = plan, values
                return values
        self._last = None  # frees its memory before more is allocated
        values = self._moved(self.x, self.y, plan, dtype, self.workers)
        self._last = plan, self.loss.with_marginals(values, self.x, self.y)
        return self._last[1]

    def at(self, coupling: Coupling) -> Values:
        """A at a coupling, in float64, computed from scratch. Time O(n^3), more if the mass is spread out."""
        self._last = None
        if coupling.weights == (1.0,):
            return self.at_plan(coupling.plans[0], np.float64)
        total = coupling.start_weight * self._at_start(coupling) if coupling.start_weight else np.zeros(coupling.shape)
        for weight, plan in zip(coupling.weights, coupling.plans, strict=True):
            total += weight * self.at_plan(plan, np.float64)
        return total

    def _at_start(self, coupling: Coupling) -> Values:
        if coupling.start is None:
            values, error = self.loss.at_product(self.x, self.y, self.workers)
            if error == 0:
                return values
        start = np.outer(coupling.p, coupling.q) if coupling.start is None else coupling.start
        return self.loss.at_dense(self.x, self.y, start, self.workers)

    def roughly_at(self, start: Coupling) -> Descent:
        """The start of a descent in single precision; A at the product coupling comes from a grid."""
        if start.start_weight == 0:
            return Descent(start, self.at_plan(start.plans[0], np.float32))
        if start.start is None:
            values, error = self.loss.at_product(self.x, self.y, self.workers)
            return Descent(start, values.astype(np.float32), grid_error=error)
        return Descent(start, self.at(start).astype(np.float32))


def descend(problem: Problem, start: Coupling, *, resolved: float, max_iterations: int) -> Descent:
    """Descend from `start` until the gap is at most `resolved`, rounding stops it, or iterations run out.

    If the loss has kernels in single precision, a first descent uses them. The last descent, of a few steps or none,
    starts from A recomputed in double precision, so its energy and gap are in double precision too.
    """
    transport = Transport(problem.x, problem.y, start.permutation)
    at = Descent(start, np.empty((0, 0)))
    energies: tuple[float, ...] = ()
    if problem.coarse:
        at = _walk(problem, transport, problem.roughly_at(start), resolved, max_iterations)
        energies = at.energies[:-1]
    fine = at._replace(half_gradient=problem.at(at.coupling), energies=energies)
    return _walk(problem, transport, fine, resolved, max_iterations)


def _walk(problem: Problem, transport: Transport, at: Descent, resolved: float, max_iterations: int) -> Descent:
    """Move towards the vertex of least cost, to the exact minimum on the way; repeat until nothing improves."""
    coupling, half_gradient = at.coupling, at.half_gradient
    precise = half_gradient.dtype == np.float64
    energies = (*at.energies, coupling.sum_of(half_gradient))
    while True:
        vertex, bound = transport.towards(half_gradient, precise=precise)
        slope = vertex.sum_of(half_gradient) - energies[-1]
        gap = max(0.0, 2 * (energies[-1] - bound))
        if gap <= resolved or slope >= 0 or len(energies) > max_iterations:
            break
        at_vertex = problem.at_plan(vertex, half_gradient.dtype)
        step = _exact_step(slope, vertex.sum_of(at_vertex) - energies[-1])
        candidate = coupling.towards(vertex, step)
        gradient = at_vertex if step == 1 else (1 - step) * half_gradient + step * at_vertex
        energy = candidate.sum_of(gradient)
        if energy >= energies[-1]:
            break
        coupling, half_gradient, energies = candidate, gradient, (*energies, energy)
        tell(len(energies) - 1, energy)
    return Descent(coupling, half_gradient, energies, gap, at.grid_error)


def _exact_step(slope: float, change: float) -> float:
    """The a in (0, 1] that minimises the energy 2 slope a + (change - 2 slope) a^2, for slope < 0.

    slope: <A(pi), vertex - pi>, half the energy's derivative at the start. change: the energy at the vertex minus that
    at pi. A concave quadratic that starts downhill has its minimum at the vertex.
    """
    curvature = change - 2 * slope
    return 1.0 if curvature <= -slope else -slope / curvature
