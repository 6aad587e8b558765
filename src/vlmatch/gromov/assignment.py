"""Linear assignment: the vertex that a conditional gradient step goes towards."""

import numpy as np
import ot
from numpy.typing import NDArray

from vlmatch.errors import VlmatchError
from vlmatch.gromov.coupling import Permutation

_MAX_PIVOTS = 10**8


def assign(costs: NDArray[np.float64]) -> Permutation:
    """The permutation sigma that minimises sum_i costs[i, sigma[i]] for (n, n) costs, by POT's network simplex.

    It beats the shortest augmenting paths of SciPy and lapx two- to tenfold here, since gradients near
    the product coupling are nearly tied. Masses of 1 rather than 1/n keep its flows whole numbers; costs
    are brought to [0, 1] since its tolerance is absolute, some 1e-15.
    Raises VlmatchError if the simplex stops before the optimum.
    """
    masses = np.ones(len(costs))
    relative = (costs - costs.min()) / (np.ptp(costs) or 1.0)
    flow, log = ot.emd(masses, masses, relative, numItermax=_MAX_PIVOTS, log=True, check_marginals=False)
    if log["warning"] is not None:
        raise VlmatchError(
            f"assignment of {len(costs)} x {len(costs)} costs stopped before its optimum ({log['warning']}); "
            "check the distances for values far apart in size"
        )
    permutation: Permutation = flow.argmax(axis=1)
    return permutation
