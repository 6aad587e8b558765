"""The descent against the energy's definition, the exact gap, and POT's conditional gradient from the same start."""

import numpy as np
import ot
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from made_spaces import cloud, energy, equidistant, grid, half_gradient, octagon, size, weights
from vlmatch.gromov import GromovWasserstein, Space, gromov_wasserstein
from vlmatch.gromov.conditional_gradient import Descent, Problem, _exact_step, _walk
from vlmatch.gromov.coupling import Coupling, TransportPlan
from vlmatch.gromov.losses import loss_named
from vlmatch.gromov.transport import Transport

every_loss = pytest.mark.parametrize("loss", ["l1", "l2"])
seeds = st.integers(0, 10**6)


def exact_gap(x: Space, y: Space, coupling: np.ndarray, loss: str) -> float:
    """The most that any coupling gains along the gradient, by POT's transport."""
    gradient = 2 * half_gradient(x.distances, y.distances, coupling, loss)
    return float((gradient * coupling).sum()) - ot.emd2(x.weights, y.weights, gradient)


def assert_answers_for_itself(found: GromovWasserstein, x: Space, y: Space, loss: str) -> None:
    """Marginals, energy, gap and the fall of the energies, from nothing but the coupling."""
    coupling = found.coupling.dense()
    unit = size(x.distances, y.distances, x.weights, y.weights, loss) or 1.0
    assert coupling.min() >= 0
    np.testing.assert_allclose(coupling.sum(axis=1), x.weights, rtol=0, atol=1e-13)
    np.testing.assert_allclose(coupling.sum(axis=0), y.weights, rtol=0, atol=1e-13)
    assert found.energy == pytest.approx(energy(x.distances, y.distances, coupling, loss), abs=1e-13 * unit)
    assert found.distance == pytest.approx(found.energy**0.5, rel=1e-15)
    gap = exact_gap(x, y, coupling, loss)
    assert gap - 1e-13 * unit <= found.gap <= gap + 1e-12 * unit
    assert found.gap >= 0
    assert found.converged == (found.gap <= 1e-8 * unit)
    assert len(found.energies) == found.iterations + 1
    assert found.energies[-1] == found.energy
    assert (np.diff(found.energies) <= 1e-6 * unit).all()


@settings(max_examples=100)
@given(
    n=st.integers(1, 12),
    m=st.integers(1, 12),
    seed=seeds,
    tied=st.booleans(),
    uniform=st.booleans(),
    loss=st.sampled_from(["l1", "l2"]),
    start=st.sampled_from(["product", "random", "first_lower_bound", "third_lower_bound"]),
    max_iterations=st.sampled_from([0, 1, 1000]),
)
def test_every_answer_is_a_coupling_with_its_own_energy_and_a_certified_gap(
    n: int, m: int, seed: int, tied: bool, uniform: bool, loss: str, start: str, max_iterations: int
) -> None:
    of_kind = grid if tied else cloud
    x = Space.of(of_kind(n, 2, seed), None if uniform else weights(n, seed))
    y = Space.of(of_kind(m, 3, seed + 1), None if uniform else weights(m, seed + 1))
    found = gromov_wasserstein(x, y, loss=loss, start=start, seed=seed, max_iterations=max_iterations)
    assert_answers_for_itself(found, x, y, loss)
    assert found.iterations <= max_iterations
    assert found.converged or max_iterations < 1000
    assert found.lower_bound is not None
    assert found.lower_bound <= found.distance + 1e-7


@every_loss
@pytest.mark.parametrize(("n", "m"), [(120, 120), (90, 60)])
def test_larger_answers_do_too(loss: str, n: int, m: int) -> None:
    x, y = Space.of(cloud(n, 3, 0)), Space.of(cloud(m, 8, 1))
    found = gromov_wasserstein(x, y, loss=loss, lower_bound=None)
    assert found.converged
    assert found.iterations > 2
    coupling = found.coupling.dense()
    if loss == "l2":
        marginals = x.mean_squares @ x.weights + y.mean_squares @ y.weights
        expected = marginals - 2 * np.vdot(x.distances @ coupling @ y.distances, coupling)
    else:
        expected = sum(
            mass * (np.abs(x.distances[i][:, None] - y.distances[j]) * coupling).sum()
            for i, j, mass in zip(*coupling.nonzero(), coupling[coupling.nonzero()], strict=True)
        )
    assert found.energy == pytest.approx(expected, rel=1e-11)
    assert (np.diff(found.energies) <= 1e-6 * found.energy).all()


@every_loss
def test_an_iteration_more_continues_where_one_less_ended(loss: str) -> None:
    x, y = cloud(80, 3, 0), cloud(80, 8, 1)
    whole = gromov_wasserstein(x, y, loss=loss)
    assert whole.iterations >= 3
    for steps in range(whole.iterations):
        part = gromov_wasserstein(x, y, loss=loss, max_iterations=steps)
        assert part.energies == pytest.approx(whole.energies[: steps + 1], rel=1e-3)
        assert part.iterations == steps
        assert not part.converged


def test_a_looser_tolerance_ends_earlier() -> None:
    x, y = cloud(80, 3, 0), cloud(80, 8, 1)
    loose, tight = (gromov_wasserstein(x, y, tolerance=tolerance) for tolerance in (1e-1, 1e-8))
    assert loose.converged
    assert loose.iterations < tight.iterations
    assert 1e-8 * (x.mean() + y.mean()) < loose.gap <= 1e-1 * (x.mean() + y.mean())


@pytest.mark.parametrize("max_iterations", [0, 1000])
def test_pots_estimate_of_the_energy_covers_ours(max_iterations: int) -> None:
    x, y, p = cloud(40, 3, 2), cloud(40, 6, 3), np.full(40, 1 / 40)
    found = gromov_wasserstein(x, y, max_iterations=max_iterations)
    estimate, deviation = ot.gromov.GW_distance_estimation(
        x,
        y,
        p,
        p,
        lambda a, b: np.abs(a - b),
        found.coupling.dense(),
        nb_samples_p=400,
        nb_samples_q=40,
        random_state=0,
    )
    assert found.energy == pytest.approx(float(estimate), abs=4 * float(deviation) + 1e-14)


def pots(x: Space, y: Space, start: np.ndarray | None) -> float:
    _, log = ot.gromov.gromov_wasserstein(
        x.distances,
        y.distances,
        x.weights,
        y.weights,
        "square_loss",
        G0=start,
        log=True,
        max_iter=1000,
        tol_rel=1e-12,
        tol_abs=1e-12,
    )
    return float(log["gw_dist"])


@pytest.mark.parametrize(("n", "seed"), [(2, 5), (3, 2), (8, 3), (20, 4)])
def test_under_weights_a_space_has_the_distance_zero_to_itself_as_in_pot(n: int, seed: int) -> None:
    x, p = cloud(n, 2, seed), weights(n, seed)
    found = gromov_wasserstein(x, x, p, p, loss="l2", start="identity")
    assert 0 <= found.lower_bound <= found.distance < 1e-7
    assert (
        found.energy == found.energies[-1] == pytest.approx(pots(Space.of(x, p), Space.of(x, p), np.diag(p)), abs=1e-14)
    )


@pytest.mark.parametrize("start", ["product", "identity"])
@pytest.mark.parametrize("seed", range(6))
def test_l2_energies_are_not_above_those_of_pots_conditional_gradient(start: str, seed: int) -> None:
    x, y = Space.of(cloud(60, 3, seed)), Space.of(cloud(60, 6, seed + 100))
    found = gromov_wasserstein(x, y, loss="l2", start=start)
    assert found.energy <= pots(x, y, None if start == "product" else np.eye(60) / 60) * (1 + 1e-6)


@pytest.mark.parametrize("seed", range(6))
def test_nor_are_they_between_spaces_of_unequal_sizes_and_weights(seed: int) -> None:
    x = Space.of(cloud(40, 3, seed), weights(40, seed))
    y = Space.of(cloud(30, 6, seed + 100), weights(30, seed) if seed % 2 else None)
    found = gromov_wasserstein(x, y, loss="l2")
    assert found.energy <= pots(x, y, None) * (1 + 1e-6)
    assert found.converged


@every_loss
def test_the_product_is_a_saddle_between_spaces_whose_points_look_alike(loss: str) -> None:
    x = Space.of(octagon())
    found = gromov_wasserstein(x, x, loss=loss)
    assert found.converged
    assert found.iterations == 0
    assert (found.coupling.start, found.coupling.start_weight) == (None, 1)
    assert_answers_for_itself(found, x, x, loss)


@every_loss
@pytest.mark.parametrize("seed", range(3))
def test_half_gradients_step_by_step_are_those_computed_at_once(loss: str, seed: int) -> None:
    random = np.random.default_rng(seed)
    x, y = Space.of(cloud(12, 2, seed)), Space.of(cloud(12, 3, seed + 1))
    problem, coupling = Problem(loss_named(loss), x, y, 1), Coupling(x.weights, y.weights)
    sigma = random.permutation(12)
    for step in (0.3, 0.2, 0.6):
        swapped = random.integers(12, size=2)
        sigma[swapped] = sigma[swapped[::-1]]  # a vertex near the last one, then one far away
        for vertex in (
            TransportPlan.of_permutation(sigma.copy()),
            TransportPlan.of_permutation(random.permutation(12)),
        ):
            dense = np.zeros((12, 12))
            dense[vertex.rows, vertex.columns] = vertex.mass
            expected = half_gradient(x.distances, y.distances, dense, loss)
            np.testing.assert_allclose(problem.at_plan(vertex, np.float64), expected, atol=1e-12)
            np.testing.assert_allclose(problem.at_plan(vertex, np.float32), expected, atol=1e-5)
            coupling = coupling.towards(vertex, step)
    expected = half_gradient(x.distances, y.distances, coupling.dense(), loss)
    np.testing.assert_allclose(problem.at(coupling), expected, atol=1e-12)


@pytest.mark.parametrize("slope", [-1e-6, -0.3, -1.0, -40.0])
@pytest.mark.parametrize("bend", [-3, -0.5, 0, 1e-3, 0.5, 0.99, 1, 1.01, 2, 30])
def test_the_step_is_the_lowest_point_between_start_and_vertex(slope: float, bend: float) -> None:
    curvature = -slope * bend
    step = _exact_step(slope, curvature + 2 * slope)
    assert 0 < step <= 1
    steps = np.append(np.linspace(0, 1, 1001), step)
    energies = 2 * slope * steps + curvature * steps**2
    assert energies[-1] <= energies.min() + 1e-9


@pytest.mark.parametrize(("unit", "coarse"), [(1, True), (1e20, True), (1e-40, False), (1e40, False), (0, False)])
def test_single_precision_is_left_out_where_it_cannot_hold_the_distances(unit: float, coarse: bool) -> None:
    x = Space.of(equidistant(3, unit))
    assert Problem(loss_named("l1"), x, x, 1).coarse == coarse
    assert not Problem(loss_named("l2"), x, x, 1).coarse


def test_the_gradient_that_a_descent_carries_along_is_that_of_its_coupling() -> None:
    """On a problem where a step ends between coupling and vertex, which is rare."""
    x, y = Space.of(cloud(40, 3, 5), weights(40, 5)), Space.of(cloud(30, 6, 105), weights(30, 5))
    problem, start = Problem(loss_named("l2"), x, y, 1), Coupling(x.weights, y.weights)
    found = _walk(problem, Transport(x, y, start.permutation), Descent(start, problem.at(start)), 0.0, 50)
    assert found.gap == pytest.approx(0, abs=1e-12)
    np.testing.assert_allclose(found.half_gradient, problem.at(found.coupling), atol=1e-10)
    assert found.energies[-1] == pytest.approx(found.coupling.sum_of(found.half_gradient))
