"""The couplings that a descent starts from: named ones, the best of several, or the caller's own."""

from collections.abc import Callable, Iterator

import numpy as np
from numpy.typing import ArrayLike

from vlmatch.errors import VlmatchError
from vlmatch.gromov.bounds import rows_matched
from vlmatch.gromov.coupling import Coupling, TransportPlan, checked_coupling
from vlmatch.gromov.losses import LossName
from vlmatch.gromov.space import Space
from vlmatch.gromov.transport import Transport, matched_in_order

Start = Callable[[Space, Space, LossName, int, int | None], Coupling]


def starting_couplings(
    start: str | ArrayLike, x: Space, y: Space, loss: LossName, seed: int, workers: int | None
) -> Iterator[tuple[str, Coupling]]:
    """Yield the name and coupling of each start; for "best", of every named start that these spaces allow.

    Couplings are computed one by one. Raises VlmatchError for an unknown name, and for a coupling that does not fit.
    """
    if not isinstance(start, str):
        yield "given", checked_coupling(start, x.weights, y.weights)
    elif start == "best":
        for name, make in STARTS.items():
            if name != "identity" or _same_weights(x, y):
                yield name, make(x, y, loss, seed, workers)
    elif start in STARTS:
        yield start, STARTS[start](x, y, loss, seed, workers)
    else:
        raise VlmatchError(f"start='{start}' is unknown, wanted one of {', '.join(STARTS)}, best, or a coupling")


def _product(x: Space, y: Space, loss: LossName, seed: int, workers: int | None) -> Coupling:
    return Coupling(x.weights, y.weights)


def _identity(x: Space, y: Space, loss: LossName, seed: int, workers: int | None) -> Coupling:
    if not _same_weights(x, y):
        raise VlmatchError(
            f"start='identity' pairs point i with point i, which needs equal sizes and weights; there are {len(x)} and "
            f"{len(y)} points; choose another start"
        )
    return Coupling.of_plan(x.weights, y.weights, TransportPlan(np.arange(len(x)), np.arange(len(x)), x.weights))


def _first_lower_bound(x: Space, y: Space, loss: LossName, seed: int, workers: int | None) -> Coupling:
    """The optimal coupling of the first lower bound with l1: points matched in the order of their eccentricities."""
    if x.uniform and y.uniform and len(x) == len(y):
        plan = TransportPlan.of_permutation(matched_in_order(x, y))
    else:
        import ot  # here, since it imports torch

        plan = TransportPlan.of_dense(ot.emd_1d(x.eccentricities, y.eccentricities, x.weights, y.weights))
    return Coupling.of_plan(x.weights, y.weights, plan)


def _third_lower_bound(x: Space, y: Space, loss: LossName, seed: int, workers: int | None) -> Coupling:
    return Coupling.of_plan(x.weights, y.weights, rows_matched(x, y, loss, workers)[1])


def _random(x: Space, y: Space, loss: LossName, seed: int, workers: int | None) -> Coupling:
    costs = np.random.default_rng(seed).random((len(x), len(y)))
    return Coupling.of_plan(x.weights, y.weights, Transport(x, y).towards(costs).plan)


def _same_weights(x: Space, y: Space) -> bool:
    return len(x) == len(y) and bool((x.weights == y.weights).all())


STARTS: dict[str, Start] = {
    "product": _product,
    "identity": _identity,
    "first_lower_bound": _first_lower_bound,
    "third_lower_bound": _third_lower_bound,
    "random": _random,
}
