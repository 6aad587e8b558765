"""The grid of the l1 loss at the product, and its kernel in single precision."""

import numpy as np
import pytest
from scipy.spatial.distance import cdist

from made_spaces import cloud, half_gradient, weights
from vlmatch.gromov.coupling import TransportPlan
from vlmatch.gromov.l1 import GRID, L1, city_block
from vlmatch.gromov.space import Space


@pytest.mark.parametrize(("n", "m"), [(40, 40), (40, 25)])
def test_the_stated_error_of_the_grid_is_a_small_share_of_a_cell(n: int, m: int) -> None:
    x, y = Space.of(cloud(n, 3, 0)), Space.of(cloud(m, 8, 1), weights(m, 1))
    error = L1().at_product(x, y, 1)[1]
    cell = max(x.diameter, y.diameter) / GRID
    assert 0 < error < 0.02 * cell


def test_distances_on_the_edges_of_the_cells_leave_no_error() -> None:
    random = np.random.default_rng(0)
    places_x, places_y = (np.append(random.choice(GRID, 9), [0, GRID])[:, None].astype(float) for _ in range(2))
    x, y = Space.of(np.abs(places_x - places_x.T)), Space.of(np.abs(places_y - places_y.T))
    values, _ = L1().at_product(x, y, 1)
    expected = half_gradient(x.distances, y.distances, np.full((11, 11), 1 / 121), "l1")
    np.testing.assert_allclose(values, expected, rtol=1e-13)


def test_spaces_of_very_unequal_size_share_one_grid() -> None:
    x, y = Space.of(cloud(9, 2, 0)), Space.of(1e-6 * cloud(7, 2, 1))
    expected = half_gradient(x.distances, y.distances, np.full((9, 7), 1 / 63), "l1")
    for first, second, wanted in ((x, y, expected), (y, x, expected.T)):
        values, error = L1().at_product(first, second, 1)
        excess = (values - wanted).mean()
        assert -1e-14 <= excess <= error + 1e-14


def test_points_that_coincide_all_cost_nothing() -> None:
    x = Space.of(np.zeros((3, 3)))
    values, error = L1().at_product(x, x, 1)
    assert error == 0
    assert (values == np.zeros((3, 3))).all()


@pytest.mark.parametrize(("n", "m", "k"), [(1, 1, 1), (5, 3, 4), (33, 35, 12), (66, 31, 70)])
def test_sums_of_weighted_differences_are_scipys_whatever_the_tiles(n: int, m: int, k: int) -> None:
    random = np.random.default_rng(n)
    a, b, mass = random.normal(size=(n, k)), random.normal(size=(m, k)), random.random(k)
    expected = cdist(a, b, "cityblock", w=mass)
    np.testing.assert_allclose(city_block(a, b, mass), expected, rtol=1e-12)
    np.testing.assert_allclose(city_block(a, b, -mass), -expected, rtol=1e-12)
    single = city_block(a.astype(np.float32), b.astype(np.float32), mass)
    assert single.dtype == np.float32
    np.testing.assert_allclose(single, expected, rtol=1e-5)


def test_single_precision_is_as_near_as_it_can_be() -> None:
    x, y = Space.of(cloud(60, 3, 0)), Space.of(cloud(60, 6, 1))
    plan = TransportPlan.of_permutation(np.random.default_rng(0).permutation(60))
    double, single = (L1().moved(x, y, plan, dtype, 1) for dtype in (np.float64, np.float32))
    assert (double.dtype, single.dtype) == (np.float64, np.float32)
    np.testing.assert_allclose(single, double, rtol=2e-6)
