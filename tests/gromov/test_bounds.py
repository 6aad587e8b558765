"""Lower bounds: below every coupling's energy, in their known order, and equal to independent transport solvers."""

import itertools

import numpy as np
import ot
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.optimize import linear_sum_assignment
from scipy.spatial.distance import cdist
from scipy.stats import wasserstein_distance

from vlmatch.gromov import gromov_wasserstein
from vlmatch.gromov.bounds import first_lower_bound, second_lower_bound, third_lower_bound

BOUNDS = [first_lower_bound, second_lower_bound, third_lower_bound]


def distances(seed: int, n: int, dimension: int = 3) -> np.ndarray:
    points = np.random.default_rng(seed).normal(size=(n, dimension))
    return cdist(points, points)


def least_energy_of_permutations(x: np.ndarray, y: np.ndarray) -> float:
    orders = map(list, itertools.permutations(range(len(x))))
    return min(np.abs(x - y[np.ix_(order, order)]).mean() for order in orders)


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 10_000), st.integers(2, 6))
def test_no_permutation_is_better_than_a_bound(seed: int, n: int) -> None:
    x, y = distances(seed, n), distances(seed + 1, n, 2)
    best = least_energy_of_permutations(x, y)
    assert all(bound(x, y) <= best + 1e-12 for bound in BOUNDS)


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 10_000), st.integers(2, 40))
def test_the_third_is_the_highest_and_the_solver_stays_above_it(seed: int, n: int) -> None:
    x, y = distances(seed, n), distances(seed + 1, n, 5)
    third = third_lower_bound(x, y)
    assert third >= max(first_lower_bound(x, y), second_lower_bound(x, y)) - 1e-12
    found = gromov_wasserstein(x, y)
    assert 0 <= found.lower_bound <= found.distance + 1e-12
    assert found.lower_bound == pytest.approx(np.sqrt(third))


@pytest.mark.parametrize("n", [2, 7, 30])
def test_each_agrees_with_an_independent_transport_solver(n: int) -> None:
    x, y = distances(1, n), distances(2, n, 2)
    assert first_lower_bound(x, y) == pytest.approx(wasserstein_distance(x.mean(axis=1), y.mean(axis=1)))
    assert second_lower_bound(x, y) == pytest.approx(wasserstein_distance(x.ravel(), y.ravel()))
    costs = np.array([[ot.wasserstein_1d(a, b, p=1) for b in y] for a in x])
    rows, columns = linear_sum_assignment(costs)
    assert third_lower_bound(x, y) == pytest.approx(costs[rows, columns].mean())


def test_relabelled_spaces_have_bounds_of_0_and_scaled_ones_do_not() -> None:
    x = distances(3, 12)
    order = np.random.default_rng(0).permutation(12)
    for bound in BOUNDS:
        assert bound(x, x[np.ix_(order, order)]) == pytest.approx(0, abs=1e-12)
        assert bound(x, 2 * x) == pytest.approx(x.mean())
