"""The l2 loss (a - b)^2: half gradients by matrix products."""

import numpy as np
from numpy.typing import DTypeLike, NDArray

from vlmatch.gromov.coupling import TransportPlan, Values
from vlmatch.gromov.space import Matrix, Space


class L2:
    """L(a, b) = (a - b)^2; E in the squared unit of the distances.

    A(pi)_ij = sum_k p_k x_ik^2 + sum_l q_l y_jl^2 - 2 (x pi y)_ij (Peyre, Cuturi and Solomon, 2016, proposition 1).
    Always in double precision: the matrix products are cheap, and the difference loses digits.
    """

    single_precision = False

    def at_product(self, x: Space, y: Space, workers: int | None) -> tuple[Values, float]:
        """A at the product coupling, exactly (an error of 0), in O(nm)."""
        return self.with_marginals(-2 * np.outer(x.eccentricities, y.eccentricities), x, y), 0.0

    def at_dense(self, x: Space, y: Space, coupling: Matrix, workers: int | None) -> Values:
        """A at any coupling, by two matrix products."""
        product: Matrix = (x.distances @ (-2 * coupling)) @ y.distances
        return self.with_marginals(product, x, y)

    def with_marginals(self, values: Values, x: Space, y: Space) -> Values:
        """Add the mean squares of both sides, in place."""
        values += x.mean_squares[:, None]
        values += y.mean_squares[None, :]
        return values

    def moved(self, x: Space, y: Space, plan: TransportPlan, dtype: DTypeLike, workers: int | None) -> Values:
        """-2 sum_t mass_t x_i,rows[t] y_j,columns[t], a product of n x k by k x m; BLAS chooses the threads."""
        product: Matrix = x.distances[plan.rows].T @ (y.distances[plan.columns] * (-2 * plan.mass)[:, None])
        return product

    def energy(self, x: Space, y: Space, permutation: NDArray[np.intp]) -> float:
        """The mean of (x_ik - y_permutation[i],permutation[k])^2. Time O(n^2)."""
        paired = y.distances[np.ix_(permutation, permutation)]
        return float(np.square(np.subtract(x.distances, paired, out=paired), out=paired).mean())

    def size(self, x: Space, y: Space) -> float:
        """The sum of the mean squared distances of both spaces."""
        return float(x.mean_squares @ x.weights + y.mean_squares @ y.weights)
