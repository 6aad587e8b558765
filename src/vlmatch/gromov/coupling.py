"""A coupling of two sets of n points, kept as what conditional gradient builds: product and permutations, weighted."""

from dataclasses import dataclass
from typing import Self

import numpy as np
from numpy.typing import NDArray

Permutation = NDArray[np.intp]
"""sigma, (n,): point i of the first set goes to point sigma[i] of the second."""


@dataclass(frozen=True, eq=False)
class Coupling:
    """A convex combination of the product coupling and of permutations, over n x n points::

        pi_ij = product_weight / n^2 + sum_k weights[k] [permutations[k][i] = j] / n

    The weights are not negative and sum to 1, so both marginals are uniform by construction.
    """

    n: int
    product_weight: float
    weights: tuple[float, ...]
    permutations: tuple[Permutation, ...]

    @classmethod
    def product(cls, n: int) -> Self:
        """Every point spread evenly over all others: 1 / n^2 everywhere."""
        return cls(n, 1.0, (), ())

    def towards(self, permutation: Permutation, step: float) -> Self:
        """(1 - step) times this coupling plus step times `permutation`, 0 <= step <= 1."""
        if step == 1:
            return type(self)(self.n, 0.0, (1.0,), (permutation,))
        kept = tuple((1 - step) * weight for weight in self.weights)
        return type(self)(self.n, (1 - step) * self.product_weight, (*kept, step), (*self.permutations, permutation))

    def mean(self, values: NDArray[np.float64]) -> float:
        """sum_ij values_ij pi_ij for values of shape (n, n), without the dense coupling."""
        total = self.product_weight * float(values.mean())
        for weight, permutation in zip(self.weights, self.permutations, strict=True):
            total += weight * mean_at(values, permutation)
        return total

    def dense(self) -> NDArray[np.float64]:
        """The coupling as an (n, n) array, whose rows and columns each sum to 1 / n."""
        coupling = np.full((self.n, self.n), self.product_weight / self.n**2)
        rows = np.arange(self.n)
        for weight, permutation in zip(self.weights, self.permutations, strict=True):
            coupling[rows, permutation] += weight / self.n
        return coupling


def mean_at(values: NDArray[np.float64], permutation: Permutation) -> float:
    """Mean of values[i, permutation[i]] over i."""
    return float(values[np.arange(len(permutation)), permutation].mean())
