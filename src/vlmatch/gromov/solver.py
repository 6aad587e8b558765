"""Gromov-Wasserstein between two distance matrices: the coupling reached from one start, or the best of several."""

import math
import time
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from vlmatch.errors import VlmatchError
from vlmatch.gromov.bounds import BoundName, lower_bound_named
from vlmatch.gromov.conditional_gradient import Descent, Moved, Problem, descend
from vlmatch.gromov.coupling import Coupling, TransportPlan
from vlmatch.gromov.exchange import two_exchange
from vlmatch.gromov.losses import LossName, loss_named
from vlmatch.gromov.space import Space
from vlmatch.gromov.starts import starting_couplings
from vlmatch.gromov.threads import number_of_workers


@dataclass(frozen=True)
class Tried:
    """The result of the descent from one start."""

    start: str
    energy: float
    iterations: int


@dataclass(frozen=True, eq=False)
class GromovWasserstein:
    """The solver's result: a local optimum, like that of every tractable method.

    energy: E of `coupling`. gap: at least max over couplings p of <gradient, coupling - p>, by duality; it is 0 exactly
    at stationary couplings. converged: whether `gap` is at most the tolerance. lower_bound: of `distance`, so the
    global optimum lies in [lower_bound, distance]; None if it was not requested. energies: E at the start and after
    each iteration; it decreases, up to the rounding of single precision. start: the start that gave the result; `tried`
    has the result of every start. grid_error: by how much the first energy of a product start may be too high. seconds:
    wall time of the whole call.
    """

    coupling: Coupling
    energy: float
    gap: float
    converged: bool
    lower_bound: float | None
    energies: tuple[float, ...]
    start: str
    tried: tuple[Tried, ...]
    grid_error: float
    seconds: float

    @property
    def distance(self) -> float:
        """E^(1/2): for l1 the number that the paper calls GW."""
        return math.sqrt(self.energy)

    @property
    def iterations(self) -> int:
        """The number of steps from the start."""
        return len(self.energies) - 1


def gromov_wasserstein(
    D_x: ArrayLike | Space,
    D_y: ArrayLike | Space,
    p: ArrayLike | None = None,
    q: ArrayLike | None = None,
    *,
    loss: LossName = "l1",
    start: str | ArrayLike = "product",
    local_search: bool = False,
    lower_bound: BoundName | None = "third",
    seed: int = 0,
    workers: int | None = None,
    device: str | None = None,
    max_iterations: int = 1000,
    tolerance: float = 1e-12,
) -> GromovWasserstein:
    """Minimise the Gromov-Wasserstein energy over couplings of p and q by conditional gradient::

        E(pi) = sum_ijkl L(D_x[i, k], D_y[j, l]) pi_ij pi_kl      L(a, b) = |a - b| (l1) or (a - b)^2 (l2)

    Each iteration solves a transport problem with the gradient as costs. It then moves towards the solution, to the
    minimum on the way, which is exact because the energy is a quadratic on this line. The solver stops when the gap is
    at most `tolerance` times the mean distances (l2: mean squares) of both sides, when rounding prevents any descent,
    or after `max_iterations`.

    D_x (n, n), D_y (m, m): distances in one unit; NumPy arrays, torch tensors, or a Space. p (n,), q (m,): positive
    weights that sum to 1; uniform by default.
    start: "product" (the paper's), "identity", "first_lower_bound" (matches the eccentricities in order),
    "third_lower_bound" (matches rows of distances), "random" (from `seed`), "best" of these; or a coupling (n, m), or
    a permutation (n,) of whole numbers. The product can be a saddle: if all points of a space have the same distances,
    it is stationary, and the solver stays there.
    local_search: afterwards exchange the partners of two points while that helps, and descend again; only for couplings
    that are permutations of points of equal weight.
    lower_bound: which of Memoli's three; None computes none. workers: threads; None: all cores.
    device: torch's name of a device, such as "cuda", to compute the gradients there; a tensor on a device implies it.
    The assignments, which take most of the time there, stay on the CPU.

    The result is deterministic; for l1 it does not depend on the threads, for l2 only in the last bits of BLAS's
    products. Relabelling the points does not change the energy unless a transport problem is tied: ties are broken by
    the order of the points, and may lead to another local optimum. Time O(n^3) an iteration, about 10 iterations on
    real embeddings; memory O(n^2), about 8 matrices.

    Raises VlmatchError for matrices that are not distances, unknown names, and starts that do not fit.
    Source: for l1 the paper (arXiv 2605.01325), equation for GW; conditional gradient as in Vayer et al. (2019).
    """
    started = time.perf_counter()
    x, y = Space.of(D_x, p, name="D_x"), Space.of(D_y, q, name="D_y")
    _check_options(workers, max_iterations, tolerance)
    problem = Problem(loss_named(loss), x, y, workers, _moved_on(device, loss, D_x, D_y))
    resolved = tolerance * problem.loss.size(x, y)
    ended: dict[str, Descent] = {}
    for name, coupling in starting_couplings(start, x, y, loss, seed, workers):
        ended[name] = _searched(problem, coupling, loss, resolved, max_iterations, local_search)
    tried = tuple(Tried(name, _energy(problem, at), len(at.energies) - 1) for name, at in ended.items())
    best = min(tried, key=lambda one: one.energy)
    at = ended[best.start]
    bound = None
    if lower_bound is not None:  # rounding can lift a bound above an energy that equals it
        bound = math.sqrt(min(best.energy, lower_bound_named(lower_bound, workers)(x, y, loss=loss)))
    return GromovWasserstein(
        at.coupling,
        best.energy,
        at.gap,
        at.gap <= resolved,
        bound,
        (*at.energies[:-1], best.energy),
        best.start,
        tried,
        at.grid_error,
        time.perf_counter() - started,
    )


def _check_options(workers: int | None, max_iterations: int, tolerance: float) -> None:
    number_of_workers(workers)
    if max_iterations < 0:
        raise VlmatchError(f"max_iterations={max_iterations}, wanted 0 (the start as it is) or more")
    if not tolerance >= 0:
        raise VlmatchError(f"tolerance={tolerance}, wanted a share >= 0 of the mean distances")


def _searched(
    problem: Problem, start: Coupling, loss: LossName, resolved: float, max_iterations: int, local_search: bool
) -> Descent:
    """Descend; with local search, then exchange pairs and descend again until neither helps."""
    at = descend(problem, start, resolved=resolved, max_iterations=max_iterations)
    while local_search and (permutation := at.coupling.permutation) is not None:
        found = two_exchange(problem.x, problem.y, permutation, at.half_gradient.astype(np.float64), loss=loss)
        if not found.swaps:
            break
        again = Coupling.of_plan(problem.x.weights, problem.y.weights, TransportPlan.of_permutation(found.permutation))
        below = descend(problem, again, resolved=resolved, max_iterations=max_iterations)
        if below.energies[-1] >= at.energies[-1]:  # single precision can lead back to where the swaps came from
            break
        at = below._replace(energies=(*at.energies, *below.energies), grid_error=at.grid_error)
    return at


def _energy(problem: Problem, at: Descent) -> float:
    """The energy at the end; for a permutation from the differences themselves, without the rounding of sums.

    For other couplings, the energy of l2 is a difference of sums, which rounding can make negative; it is then 0.
    """
    permutation = at.coupling.permutation
    if permutation is None:
        return max(0.0, at.energies[-1])
    return problem.loss.energy(problem.x, problem.y, permutation)


def _moved_on(device: str | None, loss: LossName, *given: object) -> Moved | None:
    """The function that computes half gradients on `device`, else on the device of a given tensor; None: the CPU."""
    devices = [str(one.device) for one in given if getattr(getattr(one, "device", None), "type", "cpu") != "cpu"]  # type: ignore[attr-defined]
    if device is None and not devices:
        return None
    from vlmatch.gromov.device import OnDevice  # torch takes seconds to import, and the CPU needs none

    return OnDevice(loss, devices[0] if device is None else device).moved
