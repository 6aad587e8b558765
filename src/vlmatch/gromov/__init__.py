"""The Gromov-Wasserstein solver: how far two distance matrices are from each other, under the best coupling found."""

from vlmatch.gromov.conditional_gradient import GromovWasserstein, gromov_wasserstein
from vlmatch.gromov.coupling import Coupling

__all__ = ["Coupling", "GromovWasserstein", "gromov_wasserstein"]
