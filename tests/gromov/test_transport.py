"""The linear step, by assignment and by network simplex, against a linear programme and POT."""

import numpy as np
import ot
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.optimize import linprog

from made_spaces import cloud, relabelled, weights
from vlmatch.errors import VlmatchError
from vlmatch.gromov import transport
from vlmatch.gromov.space import Space
from vlmatch.gromov.transport import Transport, matched_in_order

sizes, seeds = st.integers(1, 9), st.integers(0, 10**6)


@settings(max_examples=40)
@given(n=sizes, m=sizes, seed=seeds, uniform=st.booleans(), unit=st.sampled_from([1e-9, 1.0, 1e9]))
def test_the_vertex_costs_least_and_its_bound_proves_it(n: int, m: int, seed: int, uniform: bool, unit: float) -> None:
    x = Space.of(cloud(n, 2, seed), None if uniform else weights(n, seed))
    y = Space.of(cloud(m, 2, seed + 1), None if uniform else weights(m, seed + 1))
    costs = unit * np.random.default_rng(seed).normal(size=(n, m))
    found = Transport(x, y).towards(costs)
    assert np.bincount(found.plan.rows, found.plan.mass, n) == pytest.approx(x.weights, abs=1e-12)
    assert np.bincount(found.plan.columns, found.plan.mass, m) == pytest.approx(y.weights, abs=1e-12)
    marginals = np.vstack([np.kron(np.eye(n), np.ones(m)), np.kron(np.ones(n), np.eye(m))])
    masses = np.concatenate([x.weights, y.weights])
    least = unit * linprog(costs.ravel() / unit, A_eq=marginals, b_eq=masses, method="highs").fun
    assert found.plan.sum_of(costs) == pytest.approx(least, abs=1e-9 * unit)
    assert found.bound == pytest.approx(found.plan.sum_of(costs), abs=1e-12 * unit)


@pytest.mark.parametrize("guess", [None, np.random.default_rng(0).permutation(40)])
def test_one_after_another_are_as_good_as_each_alone(guess: np.ndarray | None) -> None:
    x, y, random = Space.of(cloud(40, 2, 0)), Space.of(cloud(40, 3, 1)), np.random.default_rng(0)
    warm, costs = Transport(x, y, guess), random.normal(size=(40, 40))
    for step in range(5):
        costs += 0.1**step * random.normal(size=(40, 40))
        expected = ot.emd2(x.weights, y.weights, costs)
        assert warm.towards(costs).plan.sum_of(costs) == pytest.approx(expected, abs=1e-13)
        single = costs.astype(np.float32)
        rough = warm.towards(single, precise=False)
        assert rough.plan.sum_of(single) == pytest.approx(expected, abs=1e-6)
        assert rough.bound <= expected + 1e-6


def test_points_are_matched_in_the_order_of_their_eccentricities() -> None:
    x = cloud(20, 3, 0)
    shuffle = np.random.default_rng(0).permutation(20)
    partners = matched_in_order(Space.of(x), Space.of(relabelled(x, shuffle)))
    assert (shuffle[partners] == np.arange(20)).all()


def test_a_simplex_cut_short_is_an_error_and_no_answer(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(transport, "_MAX_PIVOTS", 1)
    steps = Transport(Space.of(cloud(20, 2, 0)), Space.of(cloud(30, 2, 1)))
    with (
        pytest.warns(UserWarning, match="numItermax"),
        pytest.raises(VlmatchError, match="transport of 20 x 30 costs stopped before its optimum") as error,
    ):
        steps.towards(np.random.default_rng(0).random((20, 30)))
    assert "\n" not in str(error.value)
