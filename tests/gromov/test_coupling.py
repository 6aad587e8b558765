"""Couplings and plans against the dense arrays that they stand for."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.optimize import linear_sum_assignment

from made_spaces import weights
from vlmatch.errors import VlmatchError
from vlmatch.gromov.coupling import Coupling, TransportPlan, checked_coupling

many = settings(max_examples=60)
sizes, seeds = st.integers(1, 9), st.integers(0, 10**6)


def as_array(plan: TransportPlan, shape: tuple[int, int]) -> np.ndarray:
    array = np.zeros(shape)
    for i, j, mass in zip(plan.rows, plan.columns, plan.mass, strict=True):
        array[i, j] += mass
    return array


def sparse(n: int, m: int, random: np.random.Generator) -> TransportPlan:
    """A random part of the entries of an (n, m) array, at least one."""
    places = random.permutation(n * m)[: random.integers(1, n * m + 1)]
    return TransportPlan(places // m, places % m, random.random(len(places)))


def uniform(n: int) -> np.ndarray:
    return np.full(n, 1 / n)


def walked(n: int, random: np.random.Generator, steps: int = 3) -> tuple[Coupling, np.ndarray]:
    """The product of n and n points after steps towards permutations, and the same as an array."""
    coupling, expected = Coupling(uniform(n), uniform(n)), np.full((n, n), 1 / n**2)
    for _ in range(steps):
        sigma, step = random.permutation(n), random.random()
        coupling = coupling.towards(TransportPlan.of_permutation(sigma), step)
        expected = (1 - step) * expected + step * np.eye(n)[sigma] / n
    return coupling, expected


@many
@given(n=sizes, m=sizes, seed=seeds)
def test_a_difference_of_plans_is_what_takes_one_to_the_other(n: int, m: int, seed: int) -> None:
    random = np.random.default_rng(seed)
    plan, other = sparse(n, m, random), sparse(n, m, random)
    moved = plan.minus(other)
    np.testing.assert_allclose(as_array(other, (n, m)) + as_array(moved, (n, m)), as_array(plan, (n, m)), atol=1e-15)
    assert len(moved) == len({*zip(moved.rows, moved.columns, strict=True)}), "no entry twice"
    assert len(plan.minus(plan)) == 0


def test_permutations_differ_only_where_points_have_other_partners() -> None:
    first, second = (
        TransportPlan.of_permutation(np.array([0, 1, 2, 3])),
        TransportPlan.of_permutation(np.array([0, 2, 1, 3])),
    )
    moved = first.minus(second)
    assert sorted(zip(moved.rows, moved.columns, moved.mass, strict=True)) == [
        (1, 1, 0.25),
        (1, 2, -0.25),
        (2, 1, -0.25),
        (2, 2, 0.25),
    ]


@many
@given(n=sizes, m=sizes, seed=seeds)
def test_a_plan_of_an_array_is_that_array_and_sums_over_it(n: int, m: int, seed: int) -> None:
    random = np.random.default_rng(seed)
    array, values = as_array(sparse(n, m, random), (n, m)), random.normal(size=(n, m))
    plan = TransportPlan.of_dense(array)
    assert (as_array(plan, (n, m)) == array).all()
    assert len(plan) == np.count_nonzero(array)
    assert plan.sum_of(values) == pytest.approx((array * values).sum(), abs=1e-13)
    assert plan.sum_of(values.astype(np.float32)) == pytest.approx((array * values).sum(), abs=1e-5)


@many
@given(n=sizes, seed=seeds)
def test_steps_weight_a_vertex_against_all_that_was_there(n: int, seed: int) -> None:
    random = np.random.default_rng(seed)
    coupling, expected = walked(n, random)
    values = random.normal(size=(n, n))
    np.testing.assert_allclose(coupling.dense(), expected, atol=1e-15)
    assert coupling.sum_of(values) == pytest.approx((values * expected).sum(), abs=1e-13)
    assert coupling.start_weight + sum(coupling.weights) == pytest.approx(1, rel=1e-14)
    assert coupling.start is None
    np.testing.assert_allclose(coupling.dense().sum(axis=0), 1 / n, rtol=1e-13)
    np.testing.assert_allclose(coupling.dense().sum(axis=1), 1 / n, rtol=1e-13)


def test_steps_keep_a_callers_start_and_the_first_coupling() -> None:
    p, q, random = weights(4, 0), weights(3, 1), np.random.default_rng(0)
    given_start = np.outer(p, q)
    coupling = Coupling(p, q, 1.0, given_start)
    vertex = TransportPlan.of_dense(np.outer(p, q))
    stepped = coupling.towards(vertex, 0.25)
    np.testing.assert_allclose(stepped.dense(), np.outer(p, q), rtol=1e-14)
    values = random.normal(size=(4, 3))
    assert stepped.sum_of(values) == pytest.approx(p @ values @ q)
    assert (stepped.start_weight, stepped.weights, stepped.start is given_start) == (0.75, (0.25,), True)
    assert (coupling.start_weight, coupling.weights, coupling.shape) == (1, (), (4, 3))
    assert (given_start == np.outer(p, q)).all()


def test_a_whole_step_leaves_nothing_but_the_vertex() -> None:
    coupling, _ = walked(5, np.random.default_rng(0))
    there = coupling.towards(TransportPlan.of_permutation(np.arange(5)[::-1]), 1)
    assert (there.start_weight, there.weights, len(there.plans)) == (0, (1.0,), 1)
    assert (there.dense() == np.eye(5)[::-1] / 5).all()


def test_it_is_a_permutation_only_where_every_point_has_one_partner() -> None:
    sigma, p, other = np.array([2, 0, 1]), uniform(3), weights(3, 0)
    one = Coupling.of_plan(p, p, TransportPlan.of_permutation(sigma))
    assert (one.permutation == sigma).all()
    halves = TransportPlan(np.array([0, 0, 1, 2]), np.array([0, 1, 1, 2]), np.array([1, 1, 1, 2]) / 6)
    for coupling in (
        Coupling(p, p),
        one.towards(TransportPlan.of_permutation(np.arange(3)), 0.5),
        Coupling.of_plan(p, p, halves),
        Coupling.of_plan(p, p, TransportPlan(np.array([0, 0, 1]), np.array([0, 1, 2]), p)),
        Coupling.of_plan(p, uniform(1), TransportPlan(np.arange(3), np.zeros(3, int), p)),
        Coupling.of_plan(other, other, TransportPlan(np.arange(3), np.arange(3), other)),
    ):
        assert coupling.permutation is None


@many
@given(n=sizes, seed=seeds)
def test_rounding_takes_the_permutation_that_shares_most_mass(n: int, seed: int) -> None:
    coupling, expected = walked(n, np.random.default_rng(seed))
    sigma = coupling.rounded()
    assert sorted(sigma) == list(range(n))
    most = expected[linear_sum_assignment(expected, maximize=True)].sum()
    assert expected[np.arange(n), sigma].sum() == pytest.approx(most, rel=1e-12)
    assert (coupling.towards(TransportPlan.of_permutation(sigma), 1).rounded() == sigma).all()


def test_couplings_of_unequal_sizes_have_no_permutation_to_round_to() -> None:
    with pytest.raises(VlmatchError, match=r"^a coupling of 3 x 4 points has no permutation to round to$"):
        Coupling(uniform(3), uniform(4)).rounded()


def test_a_callers_permutation_or_coupling_is_taken_as_it_is() -> None:
    p, q, sigma = uniform(4), weights(3, 0), [3, 1, 0, 2]
    for values in (sigma, np.array(sigma, dtype=np.uint8), np.eye(4)[sigma] / 4):
        assert (checked_coupling(values, p, p, name="start").permutation == sigma).all()
    given_coupling = np.outer(p, q)
    for values in (given_coupling, given_coupling.tolist()):
        assert (checked_coupling(values, p, q, name="start").dense() == given_coupling).all()
    product = Coupling(p, q)
    assert checked_coupling(product, p, q, name="start") is product
    weighted = weights(3, 5)
    swapped = checked_coupling([1, 0, 2], weighted, weighted[[1, 0, 2]], name="start")
    assert (swapped.dense() == np.eye(3)[[1, 0, 2]] * weighted[:, None]).all()


@pytest.mark.parametrize(
    ("values", "p", "q", "user_message"),
    [
        ([0, 1, 1], uniform(3), uniform(3), r"start of shape \(3,\) is not a permutation between 3 points"),
        ([0, 1], uniform(3), uniform(3), r"start of shape \(2,\) is not a permutation between 3 points"),
        ([0, 1, 3], uniform(3), uniform(3), "is not a permutation"),
        ([-1, 0, 1], uniform(3), uniform(3), "is not a permutation"),
        ([0, 1, 2], uniform(3), uniform(4), "is not a permutation"),
        ([0, 1, 2], uniform(3), weights(3, 0), "start is a permutation, but pairs points of different weights"),
        ([0.0, 1.0, 2.0], uniform(3), uniform(3), r"start has shape \(3,\), wanted a coupling of \(3, 3\)"),
        (np.full((3, 2), 1 / 6), uniform(3), uniform(3), r"start has shape \(3, 2\), wanted a coupling of \(3, 3\)"),
        (np.eye(3), uniform(3), uniform(3), "marginals off by 0.667"),
        (np.full((3, 3), np.nan), uniform(3), uniform(3), "least entry of nan"),
        (np.eye(3) / 2 - 1 / 18, uniform(3), uniform(3), "least entry of -0.0556"),
        (np.outer(uniform(3), weights(3, 0)), uniform(3), uniform(3), "marginals off by"),
        ([[0, 0], [0.5, 0.5]], np.array([1e-10, 1 - 1e-10]), uniform(2), "marginals off by 1e-10"),
        (Coupling(uniform(3), weights(3, 0)), uniform(3), uniform(3), "marginals off by"),
    ],
)
def test_a_start_that_does_not_fit_is_refused_by_name(
    values: object, p: np.ndarray, q: np.ndarray, user_message: str
) -> None:
    with pytest.raises(VlmatchError, match=user_message) as error:
        checked_coupling(values, p, q, name="start")
    assert "\n" not in str(error.value)
