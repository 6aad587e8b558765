"""Lower bounds: below every coupling's energy, in their known order, and equal to independent transport solvers."""

import itertools
from functools import partial

import numpy as np
import ot
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.optimize import linear_sum_assignment, linprog
from scipy.spatial.distance import cdist
from scipy.stats import wasserstein_distance

from vlmatch.errors import VlmatchError
from vlmatch.gromov.bounds import (
    first_lower_bound,
    lower_bound_named,
    rows_matched,
    second_lower_bound,
    third_lower_bound,
)
from vlmatch.gromov.space import Space

BOUNDS = [first_lower_bound, second_lower_bound, third_lower_bound]
LOSSES = {"l1": lambda a, b: np.abs(a - b), "l2": lambda a, b: (a - b) ** 2}
METRICS = {"l1": "cityblock", "l2": "sqeuclidean"}
every_loss = pytest.mark.parametrize("loss", LOSSES)
seeds = st.integers(0, 10_000)
kinds = st.sampled_from(["cloud", "grid", "equal"])


def distances(seed: int, n: int, kind: str = "cloud") -> np.ndarray:
    """Points in space; on a small grid, so that distances are tied and may be 0; or all equally far apart."""
    random = np.random.default_rng(seed)
    if kind == "equal":
        return random.uniform(0.5, 2) * (1 - np.eye(n))
    points = random.normal(size=(n, 3)) if kind == "cloud" else random.integers(3, size=(n, 2)).astype(float)
    return cdist(points, points, "euclidean" if kind == "cloud" else "cityblock")


def weights(seed: int, n: int) -> np.ndarray:
    return np.random.default_rng(seed).dirichlet(np.ones(n))


def relabelled(x: np.ndarray, p: np.ndarray, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    order = np.random.default_rng(seed).permutation(len(x))
    return x[np.ix_(order, order)], p[order]


def energies_of_couplings(
    x: np.ndarray, y: np.ndarray, p: np.ndarray, q: np.ndarray, loss: str, seed: int
) -> list[float]:
    """E of the product, and of what repeated transport along the gradient reaches from there and from a vertex."""
    costs = LOSSES[loss](x[:, None, :, None], y[None, :, None, :])
    energies = []
    for coupling in (np.outer(p, q), ot.emd(p, q, np.random.default_rng(seed).random((len(p), len(q))))):
        current = coupling
        for _ in range(6):
            half_gradient = np.einsum("ijkl,kl->ij", costs, current)
            energies.append(float((half_gradient * current).sum()))
            current = ot.emd(p, q, half_gradient)
    return energies


@every_loss
@settings(max_examples=15)
@given(seeds, st.integers(1, 7), kinds, kinds)
def test_no_permutation_is_better_than_a_bound(loss: str, seed: int, n: int, kind: str, other: str) -> None:
    x, y = distances(seed, n, kind), distances(seed + 1, n, other)
    orders = np.array(list(itertools.permutations(range(n))))
    best = LOSSES[loss](x, y[orders[:, :, None], orders[:, None, :]]).mean(axis=(1, 2)).min()
    assert all(bound(x, y, loss=loss) <= best + 1e-12 for bound in BOUNDS)


@every_loss
@settings(max_examples=40)
@given(seeds, st.integers(1, 9), st.integers(1, 9), kinds, kinds, st.booleans())
def test_no_coupling_is_better_than_a_bound(
    loss: str, seed: int, n: int, m: int, kind: str, other: str, uniform: bool
) -> None:
    x, y = distances(seed, n, kind), distances(seed + 1, m, other)
    p, q = (np.full(n, 1 / n), np.full(m, 1 / m)) if uniform else (weights(seed, n), weights(seed + 1, m))
    best = min(energies_of_couplings(x, y, p, q, loss, seed))
    assert all(bound(x, y, p, q, loss=loss) <= best + 1e-12 for bound in BOUNDS)


@every_loss
@settings(max_examples=40)
@given(seeds, st.integers(1, 40), st.integers(1, 40), kinds, st.booleans())
def test_the_third_is_the_highest(loss: str, seed: int, n: int, m: int, kind: str, uniform: bool) -> None:
    x, y = distances(seed, n, kind), distances(seed + 1, m)
    p, q = (None, None) if uniform else (weights(seed, n), weights(seed + 1, m))
    first, second, third = (bound(x, y, p, q, loss=loss) for bound in BOUNDS)
    assert third >= max(first, second) - 1e-12


@every_loss
@pytest.mark.parametrize("uniform", [True, False])
@pytest.mark.parametrize(("n", "m"), [(2, 2), (7, 3), (30, 30), (17, 24)])
def test_first_and_second_agree_with_transport_on_the_line(loss: str, uniform: bool, n: int, m: int) -> None:
    x, y = distances(1, n), distances(2, m, "grid")
    p, q = (np.full(n, 1 / n), np.full(m, 1 / m)) if uniform else (weights(3, n), weights(4, m))
    given_weights = (None, None) if uniform else (p, q)
    on_the_line = partial(ot.emd2_1d, metric=METRICS[loss])
    e_x, e_y = (x @ p, y @ q) if loss == "l1" else (np.sqrt(x**2 @ p), np.sqrt(y**2 @ q))
    pairs_x, pairs_y = np.outer(p, p).ravel(), np.outer(q, q).ravel()
    first = first_lower_bound(x, y, *given_weights, loss=loss)
    second = second_lower_bound(x, y, *given_weights, loss=loss)
    assert first == pytest.approx(on_the_line(e_x, e_y, p, q), rel=1e-12)
    assert second == pytest.approx(on_the_line(x.ravel(), y.ravel(), pairs_x, pairs_y), rel=1e-12)
    if loss == "l1":
        assert first == pytest.approx(wasserstein_distance(e_x, e_y, p, q), rel=1e-12)
        assert second == pytest.approx(wasserstein_distance(x.ravel(), y.ravel(), pairs_x, pairs_y), rel=1e-12)


@every_loss
@pytest.mark.parametrize("n", [1, 2, 7, 30])
def test_the_third_agrees_with_an_independent_assignment(loss: str, n: int) -> None:
    x, y = distances(1, n), distances(2, n, "grid")
    costs = np.array([[ot.emd2_1d(a, b, metric=METRICS[loss]) for b in y] for a in x])
    assert third_lower_bound(x, y, loss=loss) == pytest.approx(
        costs[linear_sum_assignment(costs)].mean(), rel=1e-12, abs=1e-14
    )


@every_loss
@pytest.mark.parametrize("uniform", ["both", "one", "none"])
@pytest.mark.parametrize(("n", "m"), [(1, 3), (5, 5), (9, 14), (12, 8)])
def test_the_third_agrees_with_an_independent_linear_programme(loss: str, uniform: str, n: int, m: int) -> None:
    x, y = distances(1, n), distances(2, m, "grid")
    p = weights(3, n) if uniform == "none" else np.full(n, 1 / n)
    q = np.full(m, 1 / m) if uniform == "both" else weights(4, m)
    costs = np.array([[ot.emd2_1d(a, b, p, q, metric=METRICS[loss]) for b in y] for a in x])
    marginals = np.vstack([np.kron(np.eye(n), np.ones(m)), np.kron(np.ones(n), np.eye(m))])
    programme = linprog(costs.ravel(), A_eq=marginals, b_eq=np.concatenate([p, q]), method="highs")
    assert third_lower_bound(x, y, p, q, loss=loss) == pytest.approx(programme.fun, rel=1e-9, abs=1e-12)


@every_loss
@pytest.mark.parametrize("bound", BOUNDS)
def test_relabelled_spaces_have_bounds_of_0(bound, loss: str) -> None:
    x, p = distances(3, 60), weights(3, 60)
    assert bound(x, relabelled(x, p)[0], loss=loss) == pytest.approx(0, abs=1e-15)
    y, q = relabelled(x, p)
    assert bound(x, y, p, q, loss=loss) == pytest.approx(0, abs=1e-13)
    for_square = third_lower_bound(x, relabelled(x, p)[0], loss="l2")
    assert for_square == 0, "its root must not exceed a distance of 0"


@every_loss
@pytest.mark.parametrize("bound", BOUNDS)
@settings(max_examples=15)
@given(seeds, st.integers(1, 12), kinds)
def test_bounds_are_tight_against_the_same_space_twice_as_large(bound, loss: str, seed: int, n: int, kind: str) -> None:
    x, p = distances(seed, n, kind), weights(seed, n)
    assert bound(x, 2 * x, loss=loss) == pytest.approx(LOSSES[loss](x, 2 * x).mean(), rel=1e-12)
    assert bound(x, 2 * x, p, p, loss=loss) == pytest.approx(p @ LOSSES[loss](x, 2 * x) @ p, rel=1e-12)


@every_loss
@pytest.mark.parametrize("bound", BOUNDS)
def test_bounds_are_tight_against_a_single_point(bound, loss: str) -> None:
    y, q = distances(5, 9), weights(5, 9)
    assert bound([[0.0]], y, loss=loss) == pytest.approx(LOSSES[loss](0, y).mean())
    assert bound([[0.0]], y, None, q, loss=loss) == pytest.approx(q @ LOSSES[loss](0, y) @ q)


@every_loss
@pytest.mark.parametrize("bound", BOUNDS)
@settings(max_examples=15)
@given(seeds, st.integers(1, 12), st.integers(1, 12), kinds, st.floats(1e-3, 1e3), st.booleans())
def test_bounds_scale_with_the_loss_and_take_either_space_first(
    bound, loss: str, seed: int, n: int, m: int, kind: str, scale: float, uniform: bool
) -> None:
    x, y = distances(seed, n, kind), distances(seed + 1, m)
    p, q = (None, None) if uniform else (weights(seed, n), weights(seed + 1, m))
    value = bound(x, y, p, q, loss=loss)
    assert bound(y, x, q, p, loss=loss) == pytest.approx(value, rel=1e-10, abs=1e-13)
    power = 1 if loss == "l1" else 2
    assert bound(scale * x, scale * y, p, q, loss=loss) == pytest.approx(
        scale**power * value, rel=1e-10, abs=1e-13 * scale**power
    )


@every_loss
@pytest.mark.parametrize("bound", BOUNDS)
@pytest.mark.parametrize(("n", "m"), [(20, 20), (20, 35)])
def test_uniform_weights_give_the_same_however_they_are_given(bound, loss: str, n: int, m: int) -> None:
    x, y = distances(6, n), distances(7, m)
    value = bound(x, y, loss=loss)
    p, q = np.full(n, 1 / n), np.full(m, 1 / m)
    assert bound(x, y, p, q, loss=loss) == pytest.approx(value, rel=1e-12)
    assert bound(Space.of(x), Space.of(y, q), loss=loss) == pytest.approx(value, rel=1e-12)
    p[0] = np.nextafter(p[0], 1)
    assert not Space.of(x, p).uniform
    assert bound(x, y, p, q, loss=loss) == pytest.approx(value, rel=1e-12), "the general way agrees with the fast one"


@every_loss
@pytest.mark.parametrize("bound", BOUNDS)
def test_a_point_split_in_two_changes_nothing(bound, loss: str) -> None:
    x, y, p, q = distances(8, 9), distances(9, 11), weights(8, 9), weights(9, 11)
    twice = np.repeat(np.arange(9), 2)
    doubled = x[np.ix_(twice, twice)]
    assert bound(doubled, y, loss=loss) == pytest.approx(bound(x, y, loss=loss), rel=1e-12)
    split = np.stack([0.3 * p, 0.7 * p], axis=1).ravel()
    assert bound(doubled, y, split, q, loss=loss) == pytest.approx(bound(x, y, p, q, loss=loss), rel=1e-12)


@every_loss
@pytest.mark.parametrize("uniform", [True, False])
@pytest.mark.parametrize(("n", "m"), [(13, 13), (13, 21)])
def test_matched_rows_are_a_coupling_that_attains_the_third(loss: str, uniform: bool, n: int, m: int) -> None:
    x = Space.of(distances(1, n), None if uniform else weights(1, n))
    y = Space.of(distances(2, m), None if uniform else weights(2, m))
    value, plan = rows_matched(x, y, loss)
    assert value == third_lower_bound(x, y, loss=loss) == lower_bound_named("third")(x, y, loss=loss)
    assert np.bincount(plan.rows, plan.mass, n) == pytest.approx(x.weights, abs=1e-12)
    assert np.bincount(plan.columns, plan.mass, m) == pytest.approx(y.weights, abs=1e-12)
    costs = [
        ot.emd2_1d(x.distances[i], y.distances[j], x.weights, y.weights, metric=METRICS[loss])
        for i, j in zip(plan.rows, plan.columns, strict=True)
    ]
    assert plan.mass @ np.array(costs) == pytest.approx(value, rel=1e-12)


@every_loss
def test_the_number_of_workers_does_not_change_the_third(loss: str) -> None:
    x, y, p, q = distances(8, 29), distances(9, 23), weights(8, 29), weights(9, 23)
    for given_weights in ((None, None), (p, q)):
        one, three = (third_lower_bound(x, y, *given_weights, loss=loss, workers=workers) for workers in (1, 3))
        assert one == three


@pytest.mark.parametrize("bound", BOUNDS)
def test_bad_input_is_named(bound) -> None:
    x = distances(1, 3)
    with pytest.raises(VlmatchError, match="loss='l3'"):
        bound(x, x, loss="l3")
    with pytest.raises(VlmatchError, match="D_y has shape"):
        bound(x, x[:2])
    with pytest.raises(VlmatchError, match="D_x sum to 2"):
        bound(x, x, [0.5, 0.5, 1])
    with pytest.raises(VlmatchError, match="lower_bound='fourth'"):
        lower_bound_named("fourth")
