"""The solver against the energy's definition, POT's estimate, closed forms and exhaustive search."""

from itertools import permutations

import numpy as np
import ot
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.optimize import linear_sum_assignment
from scipy.spatial.distance import pdist, squareform

from vlmatch.errors import VlmatchError
from vlmatch.gromov import Coupling, gromov_wasserstein
from vlmatch.gromov.assignment import assign


def cloud(n: int, d: int, seed: int) -> np.ndarray:
    """Distances within n random points of d dimensions."""
    return squareform(pdist(np.random.default_rng(seed).normal(size=(n, d))))


def energy_by_definition(x: np.ndarray, y: np.ndarray, coupling: np.ndarray) -> float:
    return float(np.einsum("ikjl,ij,kl->", np.abs(x[:, :, None, None] - y[None, None]), coupling, coupling))


def equidistant(n: int, side: float) -> np.ndarray:
    return side * (1 - np.eye(n))


@settings(max_examples=30, deadline=None)
@given(n=st.integers(2, 14), seed=st.integers(0, 10**6), rounded=st.booleans())
def test_every_answer_is_a_coupling_with_its_own_energy_below_all_earlier_ones(
    n: int, seed: int, rounded: bool
) -> None:
    x, y = cloud(n, 2, seed), cloud(n, 5, seed + 1)
    if rounded:
        x, y = x.round(), y.round()  # ties, zeros, no triangle inequality
    found = gromov_wasserstein(x, y)
    coupling = found.coupling.dense()
    np.testing.assert_allclose(coupling.sum(axis=0), 1 / n, rtol=1e-12)
    np.testing.assert_allclose(coupling.sum(axis=1), 1 / n, rtol=1e-12)
    assert coupling.min() >= 0
    assert found.energy == pytest.approx(energy_by_definition(x, y, coupling), abs=1e-13)
    assert found.distance == found.energy**0.5
    assert found.converged
    assert found.gap >= 0
    assert len(found.energies) == found.iterations + 1
    assert all(later < earlier for earlier, later in zip(found.energies, found.energies[1:], strict=False))
    assert found.energies[0] == pytest.approx(np.abs(x.ravel()[:, None] - y.ravel()).mean(), abs=1e-13)


@pytest.mark.parametrize("max_iterations", [0, 1, 1000])
def test_the_gap_is_the_most_that_any_permutation_gains_along_the_gradient(max_iterations: int) -> None:
    x, y = cloud(6, 2, 0), cloud(6, 3, 1)
    found = gromov_wasserstein(x, y, max_iterations=max_iterations)
    coupling = found.coupling.dense()
    gradient = 2 * np.einsum("ikjl,kl->ij", np.abs(x[:, :, None, None] - y[None, None]), coupling)
    least = min(gradient[np.arange(6), list(sigma)].mean() for sigma in permutations(range(6)))
    assert found.gap == pytest.approx((gradient * coupling).sum() - least, abs=1e-13)
    assert found.iterations <= max_iterations
    assert found.converged == (found.gap <= 1e-8 * (x.mean() + y.mean()))


@pytest.mark.parametrize("max_iterations", [0, 1000])
def test_pots_estimate_of_the_energy_covers_ours(max_iterations: int) -> None:
    x, y = cloud(40, 3, 2), cloud(40, 6, 3)
    found = gromov_wasserstein(x, y, max_iterations=max_iterations)
    estimate, deviation = ot.gromov.GW_distance_estimation(
        x,
        y,
        np.full(40, 1 / 40),
        np.full(40, 1 / 40),
        lambda a, b: np.abs(a - b),
        found.coupling.dense(),
        nb_samples_p=400,
        nb_samples_q=40,
        random_state=0,
    )
    assert found.energy == pytest.approx(float(estimate), abs=4 * float(deviation) + 1e-14)


@pytest.mark.parametrize("seed", range(5))
def test_relabelled_generic_spaces_are_recognised_as_the_same(seed: int) -> None:
    x = cloud(40, 3, seed)
    shuffle = np.random.default_rng(seed).permutation(40)
    found = gromov_wasserstein(x, x[np.ix_(shuffle, shuffle)])
    assert found.energy == 0
    assert (shuffle[found.coupling.dense().argmax(axis=1)] == np.arange(40)).all()


def test_the_product_is_a_saddle_between_spaces_whose_points_look_alike() -> None:
    angles = 2 * np.pi * np.arange(8) / 8
    octagon = squareform(pdist(np.column_stack([np.cos(angles), np.sin(angles)])))
    found = gromov_wasserstein(octagon, octagon)
    assert found.converged
    assert found.coupling.product_weight == 1
    assert found.energy == pytest.approx(np.abs(octagon.ravel()[:, None] - octagon.ravel()).mean())


@pytest.mark.parametrize(("n", "a", "b"), [(2, 1.0, 3.0), (2, 2.0, 0.0), (5, 1.0, 1.5), (5, 0.0, 0.0)])
def test_equidistant_points_stay_at_the_product_too(n: int, a: float, b: float) -> None:
    both_differ, one_differs = (n - 1) ** 2 / n**2, (n - 1) / n**2
    found = gromov_wasserstein(equidistant(n, a), equidistant(n, b))
    assert found.energy == pytest.approx(both_differ * abs(a - b) + one_differs * (a + b))
    assert found.converged


def test_one_point_is_at_distance_zero_from_one_point() -> None:
    found = gromov_wasserstein([[0.0]], [[0.0]])
    assert (found.energy, found.gap, found.converged) == (0, 0, True)


def test_energies_scale_with_the_unit_of_the_distances() -> None:
    x, y = cloud(25, 2, 5), cloud(25, 4, 6)
    energy = gromov_wasserstein(x, y).energy
    assert gromov_wasserstein(1e3 * x, 1e3 * y).energy == pytest.approx(1e3 * energy, rel=1e-9)
    assert gromov_wasserstein(1e-6 * x, 1e-6 * y).energy == pytest.approx(1e-6 * energy, rel=1e-9)


@pytest.mark.parametrize("seed", range(3))
def test_relabelling_either_space_leaves_the_energy(seed: int) -> None:
    random = np.random.default_rng(seed)
    x, y = cloud(60, 3, seed), cloud(60, 8, seed + 10)
    a, b = random.permutation(60), random.permutation(60)
    energy = gromov_wasserstein(x, y).energy
    assert gromov_wasserstein(x[np.ix_(a, a)], y[np.ix_(b, b)]).energy == pytest.approx(energy, rel=1e-3)


def test_nearly_equal_spaces_come_to_an_end() -> None:
    x = cloud(50, 3, 7)
    noise = 1e-15 * cloud(50, 3, 8)
    found = gromov_wasserstein(x, x + noise)
    assert found.energy < 1e-14
    assert found.iterations < 20


def test_the_same_call_gives_the_same_bits() -> None:
    x, y = cloud(80, 3, 0), cloud(80, 8, 1)
    first, second = gromov_wasserstein(x, y), gromov_wasserstein(x, y)
    assert first.energies == second.energies
    assert (first.coupling.dense() == second.coupling.dense()).all()


def test_inputs_are_left_as_they_were() -> None:
    x, y = cloud(20, 3, 0), cloud(20, 8, 1)
    before = x.copy(), y.copy()
    gromov_wasserstein(x, y)
    assert (x == before[0]).all()
    assert (y == before[1]).all()


def test_a_step_weights_the_permutation_against_all_that_was_there() -> None:
    flip = np.array([1, 0])
    coupling = Coupling.product(2).towards(flip, 0.5)
    np.testing.assert_allclose(coupling.dense(), [[0.125, 0.375], [0.375, 0.125]])
    values = np.array([[1.0, 2.0], [4.0, 8.0]])
    assert coupling.mean(values) == pytest.approx((values * coupling.dense()).sum())
    assert coupling.towards(flip, 1).weights == (1.0,)


@settings(max_examples=30, deadline=None)
@given(n=st.integers(1, 40), seed=st.integers(0, 10**6), digits=st.integers(0, 6), unit=st.sampled_from([1e-9, 1, 1e9]))
def test_assignments_cost_what_scipys_cost(n: int, seed: int, digits: int, unit: float) -> None:
    costs = unit * np.random.default_rng(seed).normal(size=(n, n)).round(digits)
    permutation = assign(costs)
    assert sorted(permutation) == list(range(n))
    expected = costs[linear_sum_assignment(costs)].sum()
    assert costs[np.arange(n), permutation].sum() == pytest.approx(expected, abs=1e-12 * unit)


def changed(value: float, *where: tuple[int, int]) -> np.ndarray:
    matrix = cloud(4, 2, 0)
    for place in where:
        matrix[place] = value
    return matrix


@pytest.mark.parametrize(
    ("matrix", "complaint"),
    [
        (np.zeros((4, 3)), r"D_y has shape \(4, 3\), wanted n x n"),
        (np.zeros((0, 0)), r"D_y has shape \(0, 0\)"),
        (np.zeros(4), r"D_y has shape \(4,\)"),
        (changed(np.nan, (0, 1), (1, 0)), "D_y holds NaN or infinity"),
        (changed(-1.0, (0, 1), (1, 0)), "D_y holds -1"),
        (changed(9.0, (0, 1)), "D_y is not symmetric"),
        (changed(0.5, (2, 2)), "D_y has 0.5 on its diagonal"),
        (cloud(5, 2, 0), "D_x is 4 x 4 and D_y 5 x 5"),
    ],
)
def test_matrices_that_are_no_distances_are_refused_by_name(matrix: np.ndarray, complaint: str) -> None:
    with pytest.raises(VlmatchError, match=complaint) as error:
        gromov_wasserstein(cloud(4, 2, 0), matrix)
    assert "\n" not in str(error.value)
