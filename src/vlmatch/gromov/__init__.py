"""The Gromov-Wasserstein solver: how far two distance matrices are from each other, under the best coupling found."""

from vlmatch.gromov.bounds import first_lower_bound, second_lower_bound, third_lower_bound
from vlmatch.gromov.conditional_gradient import GromovWasserstein, gromov_wasserstein
from vlmatch.gromov.coupling import Coupling

__all__ = [
    "Coupling",
    "GromovWasserstein",
    "first_lower_bound",
    "gromov_wasserstein",
    "second_lower_bound",
    "third_lower_bound",
]
