"""The solvers that are compared, ours and others', each behind one call: two distance matrices in, a coupling out.

Heavy packages are imported by the solver that needs them, before its clock starts.
"""

import functools
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]

MAX_ITERATIONS = 1000
MAX_PIVOTS = 10**8  # so that no assignment is cut short, as with POT's default
RELATIVE_EPSILON = 0.005
RANK, FACTORS = 10, 64


@dataclass(frozen=True)
class Solved:
    """The result of a solver; `coupling` makes the dense (n, n) array only when called."""

    coupling: Callable[[], Array]
    seconds: float
    iterations: int | None = None
    energy: float | None = None
    gap: float | None = None


@dataclass(frozen=True)
class Method:
    """A solver with its settings: which loss it minimises, from which start, in which floating precision.

    `package` is imported before anything is measured.
    """

    solver: str
    loss: str
    start: str
    precision: str
    solve: Callable[[Array, Array], Solved]
    settings: str = ""
    package: str = "ot"

    @property
    def name(self) -> str:
        """Solver, loss and start."""
        return f"{self.solver} {self.loss} {self.start}".strip()


def epsilon(x: Array, y: Array) -> float:
    """The entropic solvers' regularisation: RELATIVE_EPSILON times the sum of both mean squares."""
    return RELATIVE_EPSILON * float(np.square(x).mean() + np.square(y).mean())


def ours(x: Array, y: Array, *, loss: str, device: str = "cpu", **options: Any) -> Solved:
    """vlmatch's conditional gradient, without the lower bound, which no other solver computes."""
    from vlmatch.gromov import gromov_wasserstein

    accelerator = None if device == "cpu" else device
    seconds, found = _timed(
        lambda: gromov_wasserstein(x, y, loss=loss, lower_bound=None, device=accelerator, **options)
    )
    return Solved(found.coupling.dense, seconds, found.iterations, found.energy, found.gap)


def pot(x: Array, y: Array, *, start: str) -> Solved:
    """POT's conditional gradient for the squared loss, with its own tolerances (1e-9)."""
    import ot

    first = None if start == "product" else np.diag(np.full(len(x), 1 / len(x)))
    seconds, (coupling, log) = _timed(
        lambda: ot.gromov.gromov_wasserstein(
            x, y, loss_fun="square_loss", symmetric=True, G0=first, log=True,
            max_iter=MAX_ITERATIONS, numItermaxEmd=MAX_PIVOTS,
        )
    )  # fmt: skip
    return _solved(coupling, seconds, len(log["loss"]) - 1)


def _pot_entropic(x: Array, y: Array, *, solver: str) -> Solved:
    import ot

    seconds, coupling = _timed(
        lambda: ot.gromov.entropic_gromov_wasserstein(
            x, y, loss_fun="square_loss", epsilon=epsilon(x, y), symmetric=True, solver=solver,
            max_iter=MAX_ITERATIONS,
        )
    )  # fmt: skip
    return _solved(coupling, seconds, None)


def _pot_semirelaxed(x: Array, y: Array) -> Solved:
    import ot

    seconds, (coupling, log) = _timed(
        lambda: ot.gromov.semirelaxed_gromov_wasserstein(x, y, symmetric=True, log=True, max_iter=MAX_ITERATIONS)
    )
    return _solved(coupling, seconds, len(log["loss"]) - 1)


def _pot_lowrank(x: Array, y: Array) -> Solved:
    """POT's low-rank solver. It takes points or factors of squared distances; here, leading factors of distances."""
    import ot

    def factored(distances: Array) -> tuple[Array, Array]:
        values, vectors = np.linalg.eigh(distances)
        kept = np.argsort(-np.abs(values))[:FACTORS]
        return vectors[:, kept] * values[kept], vectors[:, kept]

    points = np.zeros((len(x), min(FACTORS, len(x)) - 2))  # only their shape is used
    seconds, (left, right, weights) = _timed(
        lambda: ot.gromov.lowrank_gromov_wasserstein_samples(
            points, points, rank=min(RANK, len(x)), cost_factorized_Xs=factored(x), cost_factorized_Xt=factored(y),
            warn=False,
        )
    )  # fmt: skip
    return _solved((left / weights) @ right.T, seconds, None)


def _absolute(a: Array, b: Array) -> Array:
    return np.abs(a - b)


def _pot_stochastic(x: Array, y: Array, *, function: str) -> Solved:
    import ot

    weights = np.full(len(x), 1 / len(x))
    solve = getattr(ot.gromov, function)
    seconds, coupling = _timed(lambda: solve(x, y, weights, weights, _absolute, random_state=0))
    return _solved(coupling, seconds, None)


def _pot_batch(x: Array, y: Array) -> Solved:
    import ot.batch

    seconds, found = _timed(
        lambda: ot.batch.solve_gromov_batch(x[None], y[None], reg=epsilon(x, y), symmetric=True, grad="detach")
    )
    return _solved(found.plan[0], seconds, None)


def _torch_cdist(x: Array, y: Array) -> Solved:
    """A short l1 conditional gradient made of torch.cdist and SciPy; a grid approximates its first gradient."""
    import torch
    from scipy.optimize import linear_sum_assignment

    def solve() -> tuple[Array, int]:
        a, b = torch.from_numpy(x).float(), torch.from_numpy(y).float()
        n, rows = len(a), torch.arange(len(a))
        grid = torch.linspace(0, float(max(a.max(), b.max())), 2049)
        f, g = (torch.searchsorted(side.sort(1).values, grid.expand(n, -1).contiguous()) / n for side in (a, b))
        gradient = grid[1] * (f @ (1 - g).T + (1 - f) @ g.T)
        plan = torch.full((n, n), 1 / n**2)
        energy = float((gradient * plan).sum())
        for iteration in range(MAX_ITERATIONS):
            vertex = torch.from_numpy(linear_sum_assignment(gradient.numpy())[1])
            slope = float(gradient[rows, vertex].mean()) - energy
            if slope >= -1e-7 * energy:
                return plan.double().numpy(), iteration
            at_vertex = torch.cdist(a, b[:, vertex].contiguous(), p=1) / n
            curvature = float(at_vertex[rows, vertex].mean()) - energy - 2 * slope
            step = 1.0 if curvature <= -slope else -slope / curvature
            plan *= 1 - step
            plan[rows, vertex] += step / n
            gradient = (1 - step) * gradient + step * at_vertex
            energy = float((gradient * plan).sum())
        return plan.double().numpy(), MAX_ITERATIONS

    seconds, (coupling, iterations) = _timed(solve)
    return _solved(coupling, seconds, iterations)


def _ott_entropic(x: Array, y: Array) -> Solved:
    """ott-jax's entropic solver; the second call is timed, because the first one compiles."""
    import jax
    from ott.geometry.geometry import Geometry
    from ott.problems.quadratic.quadratic_problem import QuadraticProblem
    from ott.solvers.linear.sinkhorn import Sinkhorn
    from ott.solvers.quadratic.gromov_wasserstein import GromovWasserstein

    # Its gradient is half of POT's, and so is its epsilon.
    solver = jax.jit(
        GromovWasserstein(linear_solver=Sinkhorn(), epsilon=epsilon(x, y) / 2, max_iterations=MAX_ITERATIONS)
    )
    problem = QuadraticProblem(Geometry(cost_matrix=jax.numpy.asarray(x)), Geometry(cost_matrix=jax.numpy.asarray(y)))
    solver(problem).matrix.block_until_ready()
    seconds, matrix = _timed(lambda: solver(problem).matrix.block_until_ready())  # noqa: PLW0108  the solve is timed
    return _solved(matrix, seconds, None)


def _solved(coupling: Any, seconds: float, iterations: int | None) -> Solved:
    dense = np.asarray(coupling.todense() if hasattr(coupling, "todense") else coupling, dtype=np.float64)
    return Solved(lambda: dense, seconds, iterations)


def _timed(call: Callable[[], Any]) -> tuple[float, Any]:
    started = time.perf_counter()
    result = call()
    return time.perf_counter() - started, result


_OUR_PRECISION = {"l1": "float32, then float64", "l2": "float64"}
_EPSILON = f"epsilon = {RELATIVE_EPSILON} (mean x^2 + mean y^2)"


def our_method(loss: str, start: str, device: str = "cpu", *, local_search: bool = False) -> Method:
    """vlmatch with this loss and start."""
    solve = functools.partial(ours, loss=loss, start=start, device=device, local_search=local_search)
    solver = "vlmatch" if device == "cpu" else f"vlmatch on {device}"
    start = f"{start}, local search" if local_search else start
    return Method(solver, loss, start, _OUR_PRECISION[loss], solve, "its defaults, no lower bound", "vlmatch.gromov")


def pot_method(start: str) -> Method:
    """POT's conditional gradient from this start."""
    settings = f"tol_rel = tol_abs = 1e-9, max_iter = {MAX_ITERATIONS}, numItermaxEmd = 1e8"
    return Method("POT", "l2", start, "float64", functools.partial(pot, start=start), settings)


def _peer(solver: str, loss: str, precision: str, solve: Callable[[Array, Array], Solved], settings: str) -> Method:
    package = {"torch.cdist": "torch", "ott-jax entropic": "ott", "POT batch": "ot.batch"}.get(solver, "ot")
    return Method(solver, loss, "", precision, solve, settings, package)


_pgd, _ppa = (functools.partial(_pot_entropic, solver=solver) for solver in ("PGD", "PPA"))
_sampled, _pointwise = (
    functools.partial(_pot_stochastic, function=f"{name}_gromov_wasserstein") for name in ("sampled", "pointwise")
)

OTHERS = [
    _peer("POT entropic", "l2", "float64", _pgd, f"PGD, {_EPSILON}"),
    _peer("POT proximal", "l2", "float64", _ppa, f"entropic, PPA, {_EPSILON}"),
    _peer("POT semi-relaxed", "l2", "float64", _pot_semirelaxed, f"max_iter = {MAX_ITERATIONS}; second marginal free"),
    _peer("POT low-rank", "l2", "float64", _pot_lowrank, f"rank {RANK}, distances to rank {FACTORS}"),
    _peer("POT batch", "l2", "float64", _pot_batch, f"a batch of one, {_EPSILON}, its 50 iterations"),
    _peer("POT sampled", "l1", "float64", _sampled, "its defaults: epsilon = 1, 500 iterations, 100 samples"),
    _peer("POT pointwise", "l1", "float64", _pointwise, "its defaults: 100 iterations"),
    _peer("torch.cdist", "l1", "float32", _torch_cdist, "scipy assignments; product start from a grid of 2,048"),
    _peer("ott-jax entropic", "l2", "float32", _ott_entropic, f"{_EPSILON}, halved for its halved gradient; warm"),
]  # fmt: skip

METHODS = {
    method.name: method
    for method in [
        *(our_method(loss, start) for start in ("product", "identity", "best") for loss in ("l1", "l2")),
        *(our_method(loss, "best", local_search=True) for loss in ("l1", "l2")),
        *(our_method(loss, "product", "cuda") for loss in ("l1", "l2")),
        *(pot_method(start) for start in ("product", "identity")),
        *OTHERS,
    ]
}
