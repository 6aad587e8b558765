"""Assignments against scipy's, on costs that are tied, flat, of rank one or far from 1; and what duals promise."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.optimize import linear_sum_assignment

from made_spaces import weights
from vlmatch.gromov.assignment import assign, dual_bound, duals_along

many = settings(max_examples=150)
sizes, seeds = st.integers(1, 40), st.integers(0, 10**6)
units = st.sampled_from([1e-9, 1.0, 1e9])
kinds = st.sampled_from(["normal", "tied", "constant", "rank one", "sum", "nearly a sum", "spread"])


def costs_of(kind: str, n: int, seed: int) -> np.ndarray:
    random = np.random.default_rng(seed)
    a, b, noise = random.normal(size=n), random.normal(size=n), random.normal(size=(n, n))
    return {
        "normal": noise,
        "tied": random.integers(4, size=(n, n)).astype(float),
        "constant": np.full((n, n), a[0]),
        "rank one": np.outer(a, b),
        "sum": np.add.outer(a, b),
        "nearly a sum": np.add.outer(a, b) + 1e-9 * noise,  # like a gradient near the product coupling
        "spread": 10 ** random.uniform(-12, 3, size=(n, n)),
    }[kind]


def excess(costs: np.ndarray, permutation: np.ndarray) -> float:
    """By how much more the permutation costs, on average, than scipy's, as a share of the range of the costs."""
    n = len(costs)
    assert sorted(permutation) == list(range(n))
    shares = costs.astype(float) - float(costs.min())
    shares /= shares.max() or 1
    return (math.fsum(shares[np.arange(n), permutation]) - math.fsum(shares[linear_sum_assignment(shares)])) / n


@many
@given(n=sizes, seed=seeds, kind=kinds, unit=units)
def test_the_precise_optimum_costs_what_scipys_costs(n: int, seed: int, kind: str, unit: float) -> None:
    costs = unit * costs_of(kind, n, seed)
    assert excess(costs, assign(costs)[0]) <= 1e-14


@many
@given(n=sizes, seed=seeds, kind=kinds, unit=units, single=st.booleans())
def test_the_rough_optimum_and_costs_in_single_precision_are_near(
    n: int, seed: int, kind: str, unit: float, single: bool
) -> None:
    costs = (unit * costs_of(kind, n, seed)).astype(np.float32 if single else np.float64)
    assert excess(costs, assign(costs, precise=False)[0]) <= 1e-7


@many
@given(n=sizes, seed=seeds, kind=kinds, unit=units, lie=st.sampled_from([1.0, 1e3, 1e15]), precise=st.booleans())
def test_no_duals_and_no_guess_change_the_optimum(
    n: int, seed: int, kind: str, unit: float, lie: float, precise: bool
) -> None:
    costs, random = unit * costs_of(kind, n, seed), np.random.default_rng(seed + 1)
    duals, guess = unit * lie * random.normal(size=n), random.permutation(n)
    found = assign(costs, duals=duals, guess=guess, precise=precise)[0]
    assert excess(costs, found) <= (1e-14 if precise else 1e-7)


@many
@given(n=sizes, seed=seeds, kind=kinds, unit=units)
def test_the_duals_of_an_optimum_prove_it(n: int, seed: int, kind: str, unit: float) -> None:
    costs, p = unit * costs_of(kind, n, seed), np.full(n, 1 / n)
    permutation, duals = assign(costs)
    mean, size = costs[np.arange(n), permutation].mean(), np.abs(costs).max()
    assert mean - 1e-14 * size <= dual_bound(costs, duals, p, p) <= mean + 1e-14 * size


@many
@given(n=sizes, m=sizes, seed=seeds, uniform=st.booleans())
def test_whatever_the_duals_no_coupling_costs_less_than_their_bound(n: int, m: int, seed: int, uniform: bool) -> None:
    random = np.random.default_rng(seed)
    costs, duals = random.normal(size=(n, m)), random.normal(size=m)
    p, q = (np.full(n, 1 / n), np.full(m, 1 / m)) if uniform else (weights(n, seed), weights(m, seed + 1))
    assert dual_bound(costs, duals, p, q) <= p @ costs @ q + 1e-12


def test_an_optimum_is_found_again_from_its_own_duals() -> None:
    costs = costs_of("normal", 80, 0)
    permutation, duals = assign(costs)
    again, same = assign(costs, duals=duals)
    assert (again == permutation).all()
    assert costs[np.arange(80), again].mean() == pytest.approx(dual_bound(costs, same, *[np.full(80, 1 / 80)] * 2))


@pytest.mark.parametrize("precise", [True, False])
def test_ties_go_to_the_guess_and_without_one_to_the_first(precise: bool) -> None:
    guess = np.random.default_rng(0).permutation(30)
    flat = np.ones((30, 30))
    assert (assign(flat, guess=guess, precise=precise)[0] == guess).all()
    assert (assign(flat, precise=precise)[0] == np.arange(30)).all()


def test_the_same_costs_give_the_same_answer() -> None:
    costs = costs_of("tied", 50, 0)
    (first, duals), (second, other) = assign(costs), assign(costs)
    assert (first == second).all()
    assert (duals == other).all()


def test_costs_duals_and_guess_are_left_as_they_were() -> None:
    costs, duals, guess = costs_of("normal", 20, 0), np.zeros(20), np.arange(20)
    before = costs.copy()
    assign(costs, duals=duals, guess=guess)
    assert (costs == before).all()
    assert not duals.any()
    assert (guess == np.arange(20)).all()


def test_duals_along_a_line_are_the_optimums_own() -> None:
    places = np.sort(np.random.default_rng(0).random(200))
    costs, order = np.square(places[:, None] - places), np.arange(200)
    bound = dual_bound(costs, duals_along(costs, order, order), *[np.full(200, 1 / 200)] * 2)
    nothing = dual_bound(costs, np.zeros(200), *[np.full(200, 1 / 200)] * 2)
    assert nothing == 0  # each point's own place, for nothing: already tight
    tilted = costs + np.random.default_rng(1).normal(size=200)  # the same problem, from bad duals
    bound = dual_bound(tilted, duals_along(tilted, order, order), *[np.full(200, 1 / 200)] * 2)
    nothing = dual_bound(tilted, np.zeros(200), *[np.full(200, 1 / 200)] * 2)
    optimum = tilted[order, order].mean()
    assert nothing < optimum - 0.5
    assert optimum - 0.01 < bound <= optimum + 1e-12


@many
@given(n=sizes, seed=seeds, kind=kinds)
def test_duals_along_any_order_lead_to_the_optimum(n: int, seed: int, kind: str) -> None:
    costs, random = costs_of(kind, n, seed), np.random.default_rng(seed)
    duals = duals_along(costs, random.permutation(n), random.permutation(n))
    assert np.isfinite(duals).all()
    assert excess(costs, assign(costs, duals=duals)[0]) <= 1e-14
