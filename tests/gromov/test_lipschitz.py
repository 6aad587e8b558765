"""The bound of theorem 1 against definitions written out, closed forms, and what the map does in fact."""

from itertools import combinations, permutations, product

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.spatial.distance import cdist

from vlmatch.errors import VlmatchError
from vlmatch.gromov import gromov_wasserstein
from vlmatch.gromov.lipschitz import LipschitzBound, lipschitz_bound
from vlmatch.gromov.space import Space

sizes, seeds = st.integers(2, 12), st.integers(0, 10**6)
quantiles = st.sampled_from([0.3, 0.8, 0.9, 0.99, 1.0])


def cloud(n: int, seed: int, dimension: int = 2) -> np.ndarray:
    """Distances within a random cloud; every third one rounded, so that points coincide."""
    points = np.random.default_rng(seed).normal(size=(n, dimension))
    return cdist(points.round(), points.round()) if seed % 3 == 0 else cdist(points, points)


def permutation_of(n: int, seed: int) -> np.ndarray:
    return np.random.default_rng(seed).permutation(n)


def sparse_coupling(n: int, seed: int, parts: int = 3) -> np.ndarray:
    """A mean of random permutations, each of another weight: (n, n)."""
    random = np.random.default_rng(seed)
    permutations = np.array([random.permutation(n) for _ in range(parts)])
    return np.einsum("t,tij->ij", random.dirichlet(np.ones(parts)), np.eye(n)[permutations]) / n


def pairs_and_ratios(x: np.ndarray, y: np.ndarray, images: np.ndarray) -> list[tuple[float, float]]:
    """(x_ik, y_f(i)f(k)) of every pair."""
    return [(x[i, k], y[images[i], images[k]]) for i, k in combinations(range(len(x)), 2)]


def holds(found: LipschitzBound) -> bool:
    within = 1 + 1e-12
    return (
        found.measured <= found.bound * within
        and found.measured_quantile <= found.bound_quantile * within
        and found.bound_quantile <= found.bound
        and found.share >= found.quantile
    )


@settings(max_examples=100)
@given(n=sizes, seed=seeds, quantile=quantiles)
def test_no_permutation_stretches_more_than_its_bound(n: int, seed: int, quantile: float) -> None:
    x, y, sigma = cloud(n, seed), cloud(n, seed + 1, 3), permutation_of(n, seed)
    found = lipschitz_bound(x, y, sigma, quantile=quantile)
    assert holds(found)
    pairs = pairs_and_ratios(x, y, sigma)
    assert found.distortion == pytest.approx(max(abs(a - b) for a, b in pairs))
    assert found.spacing == min(a for a, _ in pairs)
    assert found.measured == pytest.approx(max((b / a for a, b in pairs if a > 0), default=0))
    assert (found.epsilon, found.energy_change) == (0, 0)
    if found.measured_quantile < np.inf:
        met = np.mean([b <= found.measured_quantile * a * (1 + 1e-12) for a, b in pairs])
        assert met >= quantile - 1e-12


@settings(max_examples=100)
@given(n=sizes, seed=seeds, quantile=quantiles, parts=st.integers(1, 4))
def test_no_coupling_used_as_it_is_stretches_more_than_its_bound(
    n: int, seed: int, quantile: float, parts: int
) -> None:
    x, y, coupling = cloud(n, seed), cloud(n, seed + 1, 3), sparse_coupling(n, seed, parts)
    assert holds(lipschitz_bound(x, y, coupling, rounded=False, quantile=quantile))


@pytest.mark.parametrize("seed", [1, 2, 4, 5, 7])
def test_distortion_and_error_of_a_coupling_are_the_largest_over_its_support(seed: int) -> None:
    x, y, coupling = cloud(6, seed), cloud(6, seed + 1, 3), sparse_coupling(6, seed)
    support = list(zip(*coupling.nonzero(), strict=True))
    images = [int(np.argmin([coupling[i] @ y[j] for j in range(6)])) for i in range(6)]
    found = lipschitz_bound(x, y, coupling, rounded=False, quantile=1)
    distortions = {((i, k), (j, m)): abs(x[i, k] - y[j, m]) for (i, j), (k, m) in product(support, support)}
    assert found.distortion == pytest.approx(max(distortions.values()))
    assert found.epsilon == pytest.approx(max(y[images[i], j] for i, j in support))
    assert found.measured == pytest.approx(max(b / a for a, b in pairs_and_ratios(x, y, np.array(images)) if a > 0))
    assert found.bound == pytest.approx(1 + (2 * found.epsilon + found.distortion) / found.spacing)
    between_points = max(value for ((i, k), _), value in distortions.items() if i != k)
    assert found.bound_quantile == pytest.approx(1 + (2 * found.epsilon + between_points) / found.spacing)


def test_a_permutation_as_an_array_is_that_permutation_rounded_or_not() -> None:
    x, y, sigma = cloud(15, 1), cloud(15, 2, 3), permutation_of(15, 0)
    expected = lipschitz_bound(x, y, sigma)
    dense = np.eye(15)[sigma] / 15
    assert lipschitz_bound(x, y, dense) == expected
    assert lipschitz_bound(x, y, dense, rounded=False) == expected
    assert lipschitz_bound(Space.of(x), Space.of(y), sigma, rounded=False) == expected


@pytest.mark.parametrize("loss", ["l1", "l2"])
def test_rounding_takes_the_largest_overlap_and_tells_what_it_costs(loss: str) -> None:
    x, y, coupling = cloud(6, 1), cloud(6, 2, 3), sparse_coupling(6, 5)
    differences = x[:, :, None, None] - y[None, None]
    costs = np.abs(differences) if loss == "l1" else differences**2
    sigma = np.array(max(permutations(range(6)), key=lambda order: coupling[range(6), order].sum()))
    before, after = (np.einsum("ikjl,ij,kl->", costs, pi, pi) for pi in (coupling, np.eye(6)[sigma] / 6))
    found = lipschitz_bound(x, y, coupling, loss=loss)
    assert found.energy_change == pytest.approx(after - before)
    assert found.energy_change != 0
    assert found.distortion == lipschitz_bound(x, y, sigma).distortion


@pytest.mark.parametrize("max_iterations", [0, 1000])
def test_the_solvers_coupling_is_taken_as_its_array(max_iterations: int) -> None:
    x, y = cloud(10, 1), cloud(10, 2, 3)
    coupling = gromov_wasserstein(x, y, max_iterations=max_iterations).coupling
    assert lipschitz_bound(x, y, coupling) == lipschitz_bound(x, y, coupling.dense())


@pytest.mark.parametrize("quantile", [0.5, 0.99, 1.0])
@pytest.mark.parametrize("scale", [0.5, 1.0, 2.0])
def test_scaled_spaces_have_the_bound_of_the_closed_form(scale: float, quantile: float) -> None:
    x, sigma = cloud(20, 1), permutation_of(20, 0)
    inverse = np.argsort(sigma)
    found = lipschitz_bound(x, scale * x[np.ix_(inverse, inverse)], sigma, quantile=quantile)
    off_diagonal = x[np.triu_indices(20, 1)]
    assert found.distortion == pytest.approx(abs(scale - 1) * x.max())
    assert found.bound == pytest.approx(1 + abs(scale - 1) * x.max() / off_diagonal.min())
    assert found.measured == pytest.approx(scale)
    assert found.measured_quantile == pytest.approx(scale)
    assert found.share == 1
    if scale == 1:
        assert (found.distortion, found.bound, found.bound_quantile) == (0, 1, 1)
    if quantile == 1:
        assert found.bound_quantile == found.bound


def test_a_pair_of_duplicates_makes_the_bound_infinite_and_leaves_its_quantile_finite() -> None:
    x, y = cloud(40, 1), cloud(40, 2, 3)
    x[0], x[:, 0] = x[1], x[:, 1]
    x[0, 0] = 0
    found = lipschitz_bound(x, y, np.arange(40))
    assert (found.spacing, found.bound) == (0, np.inf)
    assert 0 < found.measured < np.inf
    assert 1 < found.bound_quantile < np.inf
    assert found.measured_quantile <= found.bound_quantile
    assert 0.99 <= found.share < 1
    assert lipschitz_bound(x, y, np.arange(40), quantile=1).measured_quantile == np.inf


def test_duplicates_on_both_sides_distort_nothing() -> None:
    x = np.repeat(np.repeat(cloud(5, 1), 2, axis=0), 2, axis=1)
    found = lipschitz_bound(x, x, np.arange(10))
    assert (found.spacing, found.distortion, found.bound, found.bound_quantile) == (0, 0, 1, 1)
    assert (found.measured, found.measured_quantile, found.share) == (1, 1, 1)


def test_one_point_repeated_has_no_pair_to_measure() -> None:
    found = lipschitz_bound(np.zeros((3, 3)), cloud(3, 1), np.arange(3))
    assert (found.bound, found.bound_quantile, found.measured, found.measured_quantile) == (np.inf, np.inf, 0, np.inf)


def test_the_product_has_every_distance_as_its_distortion() -> None:
    x, y = cloud(7, 1), cloud(7, 2, 3)
    found = lipschitz_bound(x, y, np.full((7, 7), 1 / 49), rounded=False)
    assert found.distortion == pytest.approx(max(x.max(), y.max()))
    assert found.epsilon == pytest.approx(y[y.mean(axis=1).argmin()].max())
    assert found.measured == 0  # all points go to the same one


def test_unequal_sizes_and_weights_are_used_as_they_are() -> None:
    x = Space.of(cloud(3, 1), [0.5, 0.25, 0.25])
    y, coupling = cloud(2, 2), np.array([[0.5, 0], [0, 0.25], [0, 0.25]])
    found = lipschitz_bound(x, y, coupling, rounded=False)
    pairs = pairs_and_ratios(x.distances, y, np.array([0, 1, 1]))
    assert found.epsilon == 0
    assert found.distortion == pytest.approx(max(abs(a - b) for a, b in pairs))
    with pytest.raises(VlmatchError, match="D_x has 3 points and D_y 2, of unequal weights; rounding"):
        lipschitz_bound(x, y, coupling)


@pytest.mark.parametrize(
    ("n", "coupling", "options", "user_message"),
    [
        (5, np.arange(4), {}, "D_x has 4 points and D_y 5; rounding to a permutation needs equal numbers"),
        (5, np.arange(4), {"rounded": False}, "is not a permutation between 4 points of D_x and 5 of D_y"),
        (4, np.array([0, 1, 1, 2]), {}, r"coupling of shape \(4,\) is not a permutation"),
        (4, np.arange(4.0), {}, r"coupling has shape \(4,\), wanted a coupling of \(4, 4\)"),
        (4, np.full((4, 5), 1 / 20), {}, r"coupling has shape \(4, 5\), wanted a coupling of \(4, 4\)"),
        (4, np.eye(4), {}, "coupling has a least entry of 0 and marginals off by 0.75"),
        (4, np.full((4, 4), np.nan), {}, "coupling has a least entry of nan"),
        (4, np.eye(4) / 2 - 1 / 16, {}, "coupling has a least entry of -0.0625 and marginals off by 0,"),
        (4, np.arange(4), {"quantile": 0}, "quantile=0, wanted a share of pairs above 0"),
        (4, np.arange(4), {"quantile": 1.5}, "quantile=1.5, wanted"),
        (4, np.full((4, 4), 1 / 16), {"loss": "kl"}, "loss='kl' is unknown"),
    ],
)
def test_what_does_not_fit_is_refused_by_name(n: int, coupling: object, options: dict, user_message: str) -> None:
    with pytest.raises(VlmatchError, match=user_message) as error:
        lipschitz_bound(cloud(4, 1), cloud(n, 2), coupling, **options)
    assert "\n" not in str(error.value)


def test_one_point_and_matrices_that_are_no_distances_are_refused() -> None:
    with pytest.raises(VlmatchError, match="D_x has 1 point, wanted at least 2"):
        lipschitz_bound([[0.0]], [[0.0]], [0])
    with pytest.raises(VlmatchError, match=r"D_y has shape \(4, 3\), wanted n x n"):
        lipschitz_bound(cloud(4, 1), np.zeros((4, 3)), np.arange(4))
