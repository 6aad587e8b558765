"""Swaps against energies worked out from scratch: every change, the end where no swap helps, and degenerate spaces."""

from itertools import combinations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.spatial.distance import cdist

from vlmatch.errors import VlmatchError
from vlmatch.gromov.exchange import Exchanged, changes_of_swaps, two_exchange
from vlmatch.gromov.space import Space

LOSSES = {"l1": np.abs, "l2": np.square}
sizes, seeds, losses = st.integers(2, 9), st.integers(0, 10**6), st.sampled_from(["l1", "l2"])


def space(seed: int, n: int, dimension: int = 3) -> Space:
    """A random cloud; every third one rounded, so that points coincide and distances tie."""
    points = np.random.default_rng(seed).normal(size=(n, dimension))
    return Space.of(cdist(points.round(), points.round()) if seed % 3 == 0 else cdist(points, points))


def energy(x: Space, y: Space, sigma: np.ndarray, loss: str) -> float:
    return float(LOSSES[loss](x.distances - y.distances[np.ix_(sigma, sigma)]).mean())


def half_gradient(x: Space, y: Space, sigma: np.ndarray, loss: str) -> np.ndarray:
    """A_ij = mean over k of L(x_ik, y_j,sigma(k)), by its definition."""
    return LOSSES[loss](x.distances[:, None, :] - y.distances[None][:, :, sigma]).mean(axis=2)


def swapped(sigma: np.ndarray, i: int, k: int) -> np.ndarray:
    other = sigma.copy()
    other[[i, k]] = sigma[[k, i]]
    return other


def exchanged(x: Space, y: Space, sigma: np.ndarray, loss: str, **options: int) -> Exchanged:
    return two_exchange(x, y, sigma, half_gradient(x, y, sigma, loss), loss=loss, **options)


def best_swap(x: Space, y: Space, sigma: np.ndarray, loss: str) -> float:
    """The lowest energy one swap away."""
    return min(energy(x, y, swapped(sigma, i, k), loss) for i, k in combinations(range(len(sigma)), 2))


@settings(max_examples=40)
@given(n=sizes, seed=seeds, loss=losses)
def test_the_change_of_every_swap_is_the_difference_of_two_energies(n: int, seed: int, loss: str) -> None:
    x, y = space(seed, n), space(seed + 1, n, 2)
    sigma = np.random.default_rng(seed).permutation(n)
    gradient, changes, now = half_gradient(x, y, sigma, loss), np.empty(n), energy(x, y, sigma, loss)
    for i in range(n):
        changes_of_swaps(x.distances, y.distances, gradient, sigma, i, loss == "l1", changes)
        expected = [energy(x, y, swapped(sigma, i, k), loss) - now for k in range(n)]
        np.testing.assert_allclose(2 / n * changes, expected, rtol=0, atol=1e-12 * max(1, now))


@settings(max_examples=60)
@given(n=sizes, seed=seeds, loss=losses)
def test_it_ends_at_a_permutation_that_no_swap_improves(n: int, seed: int, loss: str) -> None:
    x, y = space(seed, n), space(seed + 1, n, 2)
    start = np.random.default_rng(seed).permutation(n)
    found = exchanged(x, y, start, loss)
    assert sorted(found.permutation) == list(range(n))
    assert found.energy == pytest.approx(energy(x, y, found.permutation, loss), rel=1e-13)
    assert found.energy <= energy(x, y, start, loss)
    assert best_swap(x, y, found.permutation, loss) >= found.energy - 1e-11 * max(1, found.energy)


@settings(max_examples=40)
@given(n=sizes, seed=seeds, loss=losses)
def test_a_single_swap_is_the_best_one_for_both_of_its_points(n: int, seed: int, loss: str) -> None:
    x, y = space(seed, n), space(seed + 1, n, 2)
    start = np.random.default_rng(seed).permutation(n)
    found = exchanged(x, y, start, loss, max_swaps=1)
    moved = np.flatnonzero(found.permutation != start)
    assert (len(moved), found.swaps) in [(0, 0), (2, 1)]
    for i in moved:
        others = [energy(x, y, swapped(start, i, k), loss) for k in range(n)]
        assert found.energy <= min(others) + 1e-12


@pytest.mark.parametrize("loss", ["l1", "l2"])
def test_many_swaps_in_a_row_still_end_where_no_swap_helps(loss: str) -> None:
    x, y = space(1, 60), space(2, 60, 5)
    found = exchanged(x, y, np.random.default_rng(0).permutation(60), loss)
    assert found.swaps > 60
    assert best_swap(x, y, found.permutation, loss) >= found.energy - 1e-11


@pytest.mark.parametrize("loss", ["l1", "l2"])
def test_two_partners_mixed_up_are_put_right(loss: str) -> None:
    x = space(1, 40)
    shuffle = np.random.default_rng(3).permutation(40)
    inverse = np.argsort(shuffle)
    y = Space.of(x.distances[np.ix_(inverse, inverse)])  # point shuffle[i] of y is point i of x
    found = exchanged(x, y, swapped(shuffle, 4, 9), loss)
    assert (found.energy, found.swaps) == (0, 1)
    assert (found.permutation == shuffle).all()


@pytest.mark.parametrize("loss", ["l1", "l2"])
@pytest.mark.parametrize("n", [1, 2, 3, 30])
def test_spaces_where_all_swaps_tie_are_left_alone(n: int, loss: str) -> None:
    equidistant, points = Space.of(1 - np.eye(n)), space(1, n)
    start = np.arange(n)[::-1].copy()
    for x, y in [(equidistant, equidistant), (equidistant, points), (points, Space.of(np.zeros((n, n))))]:
        found = exchanged(x, y, start, loss)
        assert found.swaps == 0
        assert (found.permutation == start).all()
        assert found.energy == pytest.approx(energy(x, y, start, loss))


@pytest.mark.parametrize("loss", ["l1", "l2"])
def test_a_space_of_duplicates_comes_to_an_end(loss: str) -> None:
    copies = np.repeat(space(4, 6).distances.round(1), 5, axis=0).repeat(5, axis=1)
    x, y = Space.of(copies), Space.of(copies[::-1, ::-1])
    found = exchanged(x, y, np.random.default_rng(0).permutation(30), loss)
    assert best_swap(x, y, found.permutation, loss) >= found.energy - 1e-12


@pytest.mark.parametrize("loss", ["l1", "l2"])
@pytest.mark.parametrize("unit", [1e-9, 1e9])
def test_the_unit_of_the_distances_changes_no_swap(unit: float, loss: str) -> None:
    x, y = space(1, 25), space(2, 25, 5)
    start = np.random.default_rng(0).permutation(25)
    scaled = exchanged(Space.of(unit * x.distances), Space.of(unit * y.distances), start, loss)
    assert (scaled.permutation == exchanged(x, y, start, loss).permutation).all()


def test_a_wrong_gradient_never_leads_upwards() -> None:
    x, y = space(1, 20), space(2, 20, 5)
    start = exchanged(x, y, np.arange(20), "l1").permutation
    found = two_exchange(x, y, start, np.random.default_rng(0).normal(size=(20, 20)), max_swaps=50)
    assert (found.energy, found.swaps) == (energy(x, y, start, "l1"), 0)
    assert (found.permutation == start).all()


def test_the_start_and_the_gradient_are_left_as_they_were() -> None:
    x, y, start = space(1, 20), space(2, 20, 5), np.random.default_rng(0).permutation(20)
    gradient = half_gradient(x, y, start, "l1")
    before = start.copy(), gradient.copy()
    assert two_exchange(x, y, start, gradient).swaps > 0
    assert (start == before[0]).all()
    assert (gradient == before[1]).all()


WEIGHTED = Space.of(1 - np.eye(4), [0.1, 0.2, 0.3, 0.4])


@pytest.mark.parametrize(
    ("y", "permutation", "gradient", "loss", "user_message"),
    [
        (space(1, 5), range(4), np.zeros((4, 4)), "l1", "D_x has 4 points and D_y 5; local search needs equal numbers"),
        (WEIGHTED, range(4), np.zeros((4, 4)), "l1", "D_y 4, of unequal weights"),
        (
            space(1, 4),
            [0, 1, 1, 3],
            np.zeros((4, 4)),
            "l1",
            r"shape \(4,\) does not hold each of 0 ... 3",
        ),
        (space(1, 4), range(3), np.zeros((4, 4)), "l1", r"permutation of shape \(3,\)"),
        (space(1, 4), range(4), np.zeros((4, 3)), "l1", r"gradient has shape \(4, 3\), wanted \(4, 4\)"),
        (space(1, 4), range(4), np.zeros((4, 4)), "kl", "loss='kl' is unknown"),
    ],
)
def test_arrays_that_do_not_fit_are_refused_by_name(
    y: Space, permutation: object, gradient: np.ndarray, loss: str, user_message: str
) -> None:
    with pytest.raises(VlmatchError, match=user_message) as error:
        two_exchange(space(0, 4), y, np.array(permutation), gradient, loss=loss)
    assert "\n" not in str(error.value)
