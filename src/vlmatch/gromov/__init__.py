"""The Gromov-Wasserstein solver: how much two distance matrices differ under the best coupling that it finds."""

from vlmatch.gromov.bounds import first_lower_bound, second_lower_bound, third_lower_bound
from vlmatch.gromov.coupling import Coupling
from vlmatch.gromov.lipschitz import LipschitzBound, lipschitz_bound
from vlmatch.gromov.pool import gromov_wasserstein_pool
from vlmatch.gromov.solver import GromovWasserstein, Tried, gromov_wasserstein
from vlmatch.gromov.space import Space

__all__ = [
    "Coupling",
    "GromovWasserstein",
    "LipschitzBound",
    "Space",
    "Tried",
    "first_lower_bound",
    "gromov_wasserstein",
    "gromov_wasserstein_pool",
    "lipschitz_bound",
    "second_lower_bound",
    "third_lower_bound",
]
