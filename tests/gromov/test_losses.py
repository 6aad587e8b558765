"""Half gradients and energies of both losses against their definition, and against differences of the energy."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from made_spaces import LOSSES as DIFFERENCES
from made_spaces import cloud, energy, grid, half_gradient, relabelled, size, weights
from vlmatch.errors import VlmatchError
from vlmatch.gromov.coupling import TransportPlan
from vlmatch.gromov.losses import LOSSES, loss_named
from vlmatch.gromov.space import Space

every_loss = pytest.mark.parametrize("loss", LOSSES)
spaces = settings(max_examples=25)
sizes, seeds = st.integers(1, 13), st.integers(0, 10**6)


def pair(n: int, m: int, seed: int) -> tuple[Space, Space]:
    """Two clouds, or grids for odd seeds; of unequal weights for two seeds in four."""
    of_kind = grid if seed % 2 else cloud
    p, q = (weights(n, seed), weights(m, seed + 1)) if seed % 4 > 1 else (None, None)
    return Space.of(of_kind(n, 2, seed), p), Space.of(of_kind(m, 3, seed + 1), q)


def some_coupling(x: Space, y: Space, seed: int) -> np.ndarray:
    """(n, m): the product of the weights, disturbed in 2 x 2 blocks that leave the marginals."""
    random = np.random.default_rng(seed)
    coupling = np.outer(x.weights, y.weights)
    for _ in range(10):
        i, k = random.integers(len(x), size=2)
        j, l = random.integers(len(y), size=2)  # noqa: E741 - as in y_jl
        moved = random.random() * min(coupling[i, l], coupling[k, j]) / 2
        np.add.at(coupling, ([i, k, i, k], [j, l, l, j]), [moved, moved, -moved, -moved])
    return coupling


def sparse(x: Space, y: Space, seed: int) -> TransportPlan:
    """A few entries of any sign."""
    random = np.random.default_rng(seed)
    count = int(random.integers(1, 12))
    rows, columns = random.integers(len(x), size=count), random.integers(len(y), size=count)
    return TransportPlan(rows, columns, random.normal(size=count))


def as_array(plan: TransportPlan, x: Space, y: Space) -> np.ndarray:
    array = np.zeros((len(x), len(y)))
    np.add.at(array, (plan.rows, plan.columns), plan.mass)
    return array


@every_loss
@spaces
@given(n=sizes, m=sizes, seed=seeds)
def test_at_any_coupling_it_is_the_sum_of_its_definition(loss: str, n: int, m: int, seed: int) -> None:
    x, y = pair(n, m, seed)
    coupling = some_coupling(x, y, seed)
    expected = half_gradient(x.distances, y.distances, coupling, loss)
    values = loss_named(loss).at_dense(x, y, coupling, 1)
    np.testing.assert_allclose(values, expected, rtol=1e-12, atol=1e-13 * max(1, expected.max()))


@every_loss
@spaces
@given(n=sizes, m=sizes, seed=seeds)
def test_at_the_product_it_is_never_too_low_and_its_energy_too_high_by_the_stated_error_at_most(
    loss: str, n: int, m: int, seed: int
) -> None:
    x, y = pair(n, m, seed)
    expected = half_gradient(x.distances, y.distances, np.outer(x.weights, y.weights), loss)
    values, error = loss_named(loss).at_product(x, y, 1)
    rounding = 1e-13 * max(1, expected.max())
    assert (values >= expected - rounding).all()
    assert x.weights @ (values - expected) @ y.weights <= error + rounding


@every_loss
@spaces
@given(n=sizes, m=sizes, seed=seeds)
def test_what_a_sparse_difference_moves_is_the_change_of_the_sum(loss: str, n: int, m: int, seed: int) -> None:
    x, y = pair(n, m, seed)
    plan = sparse(x, y, seed)
    expected = half_gradient(x.distances, y.distances, as_array(plan, x, y), loss)
    values = loss_named(loss).moved(x, y, plan, np.float64, 1)
    if loss == "l2":  # what is of the marginals alone, which a difference of two couplings does not change
        expected -= np.square(x.distances)[:, plan.rows] @ plan.mass[:, None]
        expected -= np.square(y.distances)[:, plan.columns] @ plan.mass
    np.testing.assert_allclose(values, expected, rtol=0, atol=1e-12 * np.abs(plan.mass).sum() * 20)


@every_loss
@spaces
@given(n=sizes, seed=seeds)
def test_a_whole_permutation_with_its_marginals_is_the_sum_too_and_so_is_its_energy(
    loss: str, n: int, seed: int
) -> None:
    x, y = (Space.of(space.distances) for space in pair(n, n, seed))
    rule, sigma = loss_named(loss), np.random.default_rng(seed).permutation(n)
    plan = TransportPlan.of_permutation(sigma)
    values = rule.with_marginals(rule.moved(x, y, plan, np.float64, 1), x, y)
    expected = half_gradient(x.distances, y.distances, as_array(plan, x, y), loss)
    np.testing.assert_allclose(values, expected, rtol=1e-12, atol=1e-12)
    assert rule.energy(x, y, sigma) == pytest.approx(
        energy(x.distances, y.distances, as_array(plan, x, y), loss), rel=1e-12, abs=1e-14
    )


@every_loss
@pytest.mark.parametrize("seed", range(4))
def test_twice_it_is_the_slope_of_the_energy_towards_any_coupling(loss: str, seed: int) -> None:
    x, y = pair(7, 5, seed)
    at, other = some_coupling(x, y, seed), some_coupling(x, y, seed + 50)
    gradient, step = 2 * loss_named(loss).at_dense(x, y, at, 1), 1e-3
    forth, back = (
        energy(x.distances, y.distances, at + sign * step * (other - at), loss) for sign in (1, -1)
    )  # E is quadratic: central differences are exact
    assert (gradient * (other - at)).sum() == pytest.approx((forth - back) / (2 * step), abs=1e-11)


@every_loss
@pytest.mark.parametrize("seed", range(4))
def test_size_is_the_mean_loss_of_both_spaces_against_a_point(loss: str, seed: int) -> None:
    x, y = pair(7, 5, seed)
    expected = size(x.distances, y.distances, x.weights, y.weights, loss)
    assert loss_named(loss).size(x, y) == pytest.approx(expected, rel=1e-13)


@every_loss
def test_a_permutation_of_a_space_costs_that_space_exactly_nothing(loss: str) -> None:
    x, sigma = cloud(30, 3, 2), np.random.default_rng(0).permutation(30)
    y = relabelled(x, np.argsort(sigma))  # point sigma[i] of y is point i of x
    assert loss_named(loss).energy(Space.of(x), Space.of(y), sigma) == 0
    if loss == "l1":
        values = loss_named(loss).moved(Space.of(x), Space.of(y), TransportPlan.of_permutation(sigma), np.float64, 1)
        assert (values[np.arange(30), sigma] == 0).all()


@every_loss
def test_the_number_of_threads_does_not_change_a_bit(loss: str) -> None:
    x, y, rule = Space.of(cloud(61, 3, 4)), Space.of(cloud(47, 3, 6), weights(47, 6)), loss_named(loss)
    plan, coupling = sparse(x, y, 1), some_coupling(x, y, 1)
    for workers in (2, 3, None):
        for one, several in (
            (rule.at_product(x, y, 1)[0], rule.at_product(x, y, workers)[0]),
            (rule.at_dense(x, y, coupling, 1), rule.at_dense(x, y, coupling, workers)),
            (rule.moved(x, y, plan, np.float64, 1), rule.moved(x, y, plan, np.float64, workers)),
            (rule.moved(x, y, plan, np.float32, 1), rule.moved(x, y, plan, np.float32, workers)),
        ):
            assert (one == several).all()


def test_a_loss_is_known_by_its_name() -> None:
    assert LOSSES.keys() == DIFFERENCES.keys()
    with pytest.raises(VlmatchError, match=r"^loss='kl' is unknown, wanted one of l1, l2$"):
        loss_named("kl")
