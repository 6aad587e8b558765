"""The l2 loss against POT's square loss."""

import numpy as np
import ot
import pytest

from made_spaces import cloud, grid, weights
from vlmatch.gromov.coupling import TransportPlan
from vlmatch.gromov.l2 import L2
from vlmatch.gromov.space import Space


def pots(x: Space, y: Space, coupling: np.ndarray) -> tuple[np.ndarray, float]:
    """POT's gradient, (n, m), and loss."""
    constant, first, second = ot.gromov.init_matrix(x.distances, y.distances, x.weights, y.weights, "square_loss")
    gradient = ot.gromov.gwggrad(constant, first, second, coupling)
    return gradient, float(ot.gromov.gwloss(constant, first, second, coupling))


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("make", [cloud, grid])
@pytest.mark.parametrize(("n", "m"), [(20, 20), (20, 31), (1, 6)])
def test_gradient_and_energy_are_pots(make, n: int, m: int, seed: int) -> None:
    x = Space.of(make(n, 3, seed), weights(n, seed) if seed else None)
    y = Space.of(make(m, 5, seed + 1), weights(m, seed + 1) if seed > 1 else None)
    vertex = ot.emd(x.weights, y.weights, np.random.default_rng(seed).random((n, m)))
    product = np.outer(x.weights, y.weights)
    values, error = L2().at_product(x, y, None)
    assert error == 0
    plan = TransportPlan.of_dense(vertex)
    at_vertex = L2().with_marginals(L2().moved(x, y, plan, np.float64, None), x, y)
    for coupling, ours in ((product, values), (vertex, at_vertex), (vertex, L2().at_dense(x, y, vertex, None))):
        gradient, loss = pots(x, y, coupling)
        np.testing.assert_allclose(2 * ours, gradient, rtol=1e-12, atol=1e-12)
        assert (ours * coupling).sum() == pytest.approx(loss, rel=1e-12)


def test_it_is_always_in_double_precision() -> None:
    x, y = Space.of(cloud(8, 3, 0)), Space.of(cloud(8, 3, 1))
    assert not L2.single_precision
    assert L2().moved(x, y, TransportPlan.of_permutation(np.arange(8)), np.float32, None).dtype == np.float64
