"""The couplings that a descent starts from: named ones, the best of several, or the caller's own."""

from collections.abc import Iterator

import numpy as np
from numpy.typing import ArrayLike

from vlmatch.errors import VlmatchError
from vlmatch.gromov.bounds import rows_matched
from vlmatch.gromov.coupling import Coupling, TransportPlan, checked_coupling
from vlmatch.gromov.losses import LossName
from vlmatch.gromov.space import Space, equal_weights
from vlmatch.gromov.transport import Transport, matched_in_order

STARTS = ("product", "identity", "first_lower_bound", "third_lower_bound", "random")


def starting_couplings(
    start: str | ArrayLike, x: Space, y: Space, loss: LossName, seed: int, workers: int | None
) -> Iterator[tuple[str, Coupling]]:
    """Yield the name and coupling of each start; for "best", of every named start that is possible for these spaces.

    Couplings are computed one by one. Raises VlmatchError for an unknown name, and for a coupling that does not fit.
    """
    if not isinstance(start, str):
        yield "given", checked_coupling(start, x.weights, y.weights, name="start")
    elif start == "best":
        for name in STARTS:
            if name != "identity" or _same_weights(x, y):
                yield name, _named(name, x, y, loss, seed, workers)
    elif start in STARTS:
        yield start, _named(start, x, y, loss, seed, workers)
    else:
        raise VlmatchError(f"start='{start}' is unknown, wanted one of {', '.join(STARTS)}, best, or a coupling")


def _named(name: str, x: Space, y: Space, loss: LossName, seed: int, workers: int | None) -> Coupling:
    """The coupling of one of `STARTS`."""
    if name == "product":
        return Coupling(x.weights, y.weights)
    if name == "identity":
        plan = _identity(x, y)
    elif name == "first_lower_bound":
        plan = _in_order(x, y)
    elif name == "third_lower_bound":
        plan = rows_matched(x, y, loss, workers)[1]
    else:
        plan = Transport(x, y).towards(np.random.default_rng(seed).random((len(x), len(y)))).plan
    return Coupling.of_plan(x.weights, y.weights, plan)


def _identity(x: Space, y: Space) -> TransportPlan:
    if not _same_weights(x, y):
        raise VlmatchError(
            f"start='identity' pairs point i with point i, which needs equal sizes and weights; there are {len(x)} and "
            f"{len(y)} points; choose another start"
        )
    return TransportPlan(np.arange(len(x)), np.arange(len(x)), x.weights)


def _in_order(x: Space, y: Space) -> TransportPlan:
    """The optimal plan of the first lower bound with l1: points matched in the order of their eccentricities."""
    if equal_weights(x.weights, y.weights):
        return TransportPlan.of_permutation(matched_in_order(x, y))
    import ot  # here, because it imports torch

    return TransportPlan.of_dense(ot.emd_1d(x.eccentricities, y.eccentricities, x.weights, y.weights))


def _same_weights(x: Space, y: Space) -> bool:
    return len(x) == len(y) and bool((x.weights == y.weights).all())
