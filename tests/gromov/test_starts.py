"""Every start: what it is, what it leads to, and which one wins."""

import numpy as np
import ot
import pytest

from made_spaces import cloud, energy, relabelled, weights
from vlmatch.errors import VlmatchError
from vlmatch.gromov import Space, first_lower_bound, gromov_wasserstein, third_lower_bound
from vlmatch.gromov.starts import STARTS, starting_couplings

every_loss = pytest.mark.parametrize("loss", ["l1", "l2"])
every_start = pytest.mark.parametrize("start", STARTS)


def spaces(n: int, m: int, *, uniform: bool = True) -> tuple[Space, Space]:
    p, q = (None, None) if uniform else (weights(n, 0), weights(m, 1))
    return Space.of(cloud(n, 2, 0), p), Space.of(cloud(m, 3, 1), q)


@every_loss
@every_start
@pytest.mark.parametrize(("n", "m", "uniform"), [(12, 12, True), (12, 12, False), (12, 9, True), (7, 11, False)])
def test_every_start_is_a_coupling_and_the_answer_names_it(
    start: str, loss: str, n: int, m: int, uniform: bool
) -> None:
    x, y = spaces(n, m, uniform=uniform)
    if start == "identity" and not (uniform and n == m):
        with pytest.raises(VlmatchError, match=f"^start='identity' pairs point i with point i.* {n} and {m} points"):
            gromov_wasserstein(x, y, loss=loss, start=start)
        return
    ((name, coupling),) = starting_couplings(start, x, y, loss, 0, 1)
    assert name == start
    np.testing.assert_allclose(coupling.dense().sum(axis=1), x.weights, rtol=0, atol=1e-13)
    np.testing.assert_allclose(coupling.dense().sum(axis=0), y.weights, rtol=0, atol=1e-13)
    found = gromov_wasserstein(x, y, loss=loss, start=start)
    (tried,) = found.tried
    assert (found.start, tried.start, tried.energy, tried.iterations) == (start, start, found.energy, found.iterations)
    expected = energy(x.distances, y.distances, coupling.dense(), loss)
    assert found.energies[0] == pytest.approx(expected + found.grid_error / 2, abs=found.grid_error / 2 + 1e-5)
    assert (found.grid_error > 0) == (start == "product" and loss == "l1")


@every_loss
@pytest.mark.parametrize(("n", "m", "uniform"), [(15, 15, True), (15, 15, False), (15, 10, True)])
def test_best_is_the_lowest_of_all_that_were_tried(loss: str, n: int, m: int, uniform: bool) -> None:
    x, y = spaces(n, m, uniform=uniform)
    best = gromov_wasserstein(x, y, loss=loss, start="best", seed=3)
    fitting = [name for name in STARTS if name != "identity" or (uniform and n == m)]
    assert [one.start for one in best.tried] == fitting
    assert best.energy == min(one.energy for one in best.tried)
    (winner,) = [one for one in best.tried if one.start == best.start]
    assert (winner.energy, winner.iterations) == (best.energy, best.iterations)
    for one in best.tried:
        alone = gromov_wasserstein(x, y, loss=loss, start=one.start, seed=3)
        assert (alone.energy, alone.iterations) == (one.energy, one.iterations)


def test_best_pairs_equal_weights_with_the_identity_too() -> None:
    p = weights(8, 0)
    x, y = Space.of(cloud(8, 2, 0), p), Space.of(cloud(8, 2, 0), p)
    best = gromov_wasserstein(x, y, start="best")
    assert "identity" in [one.start for one in best.tried]
    assert best.energy == 0


@every_loss
@pytest.mark.parametrize("start", ["first_lower_bound", "third_lower_bound"])
def test_the_bounds_couplings_undo_a_relabelling(start: str, loss: str) -> None:
    x = cloud(30, 3, 0)
    shuffle = np.random.default_rng(0).permutation(30)
    found = gromov_wasserstein(x, relabelled(x, shuffle), loss=loss, start=start)
    assert (found.energy, found.iterations) == (0, 0)
    assert (shuffle[found.coupling.permutation] == np.arange(30)).all()


@every_loss
@pytest.mark.parametrize(("n", "m", "uniform"), [(12, 12, True), (12, 12, False), (12, 9, True)])
def test_they_are_the_couplings_that_attain_their_bounds(loss: str, n: int, m: int, uniform: bool) -> None:
    x, y = spaces(n, m, uniform=uniform)
    metric = {"l1": "cityblock", "l2": "sqeuclidean"}[loss]
    of_rows = [[ot.emd2_1d(a, b, x.weights, y.weights, metric) for b in y.distances] for a in x.distances]
    ((_, third),) = starting_couplings("third_lower_bound", x, y, loss, 0, 1)
    assert third.sum_of(np.array(of_rows)) == pytest.approx(third_lower_bound(x, y, loss=loss), rel=1e-12)
    ((_, first),) = starting_couplings("first_lower_bound", x, y, loss, 0, 1)
    apart = np.abs(x.eccentricities[:, None] - y.eccentricities)
    assert first.sum_of(apart) == pytest.approx(first_lower_bound(x, y), rel=1e-12)


def test_random_starts_follow_their_seed() -> None:
    x, y = spaces(20, 20)
    first, again, other = (gromov_wasserstein(x, y, start="random", seed=seed) for seed in (1, 1, 2))
    assert first.energies == again.energies
    assert first.energies[0] != other.energies[0]


@every_loss
@pytest.mark.parametrize(("n", "m", "uniform"), [(10, 10, True), (10, 7, False)])
def test_a_callers_coupling_is_where_it_begins(loss: str, n: int, m: int, uniform: bool) -> None:
    x, y = spaces(n, m, uniform=uniform)
    reached = gromov_wasserstein(x, y, loss=loss).coupling.dense()
    start = (np.outer(x.weights, y.weights) + reached) / 2
    before = start.copy()
    found = gromov_wasserstein(x, y, loss=loss, start=start)
    assert found.start == "given"
    assert found.energies[0] == pytest.approx(energy(x.distances, y.distances, start, loss), rel=1e-6)
    assert found.energy <= found.energies[0]
    assert found.converged
    assert found.coupling.start_weight == 0 or found.coupling.start is not None
    assert (start == before).all()
    stays = gromov_wasserstein(x, y, loss=loss, start=reached)
    assert stays.energy == pytest.approx(gromov_wasserstein(x, y, loss=loss).energy, rel=1e-9)


@every_loss
def test_a_callers_permutation_is_where_it_begins(loss: str) -> None:
    x, y = spaces(10, 10)
    sigma = np.random.default_rng(0).permutation(10)
    for start in (sigma, sigma.tolist(), np.eye(10)[sigma] / 10):
        found = gromov_wasserstein(x, y, loss=loss, start=start, max_iterations=0)
        assert found.energy == pytest.approx(energy(x.distances, y.distances, np.eye(10)[sigma] / 10, loss))
        assert (found.coupling.permutation == sigma).all()
    same = gromov_wasserstein(x, relabelled(x.distances, np.argsort(sigma)), loss=loss, start=sigma)
    assert (same.energy, same.gap, same.converged, same.lower_bound) == (0, 0, True, 0)


@pytest.mark.parametrize(
    ("start", "user_message"),
    [
        ("products", "^start='products' is unknown, wanted one of product, identity, .*best, or a coupling"),
        (np.ones((3, 3)), r"^start has shape \(3, 3\), wanted a coupling of \(4, 4\)"),
        (np.ones((4, 4)), "^start has a least entry of 1 and marginals off by 3.75"),
        ([0, 1, 2, 2], r"^start of shape \(4,\) is not a permutation between 4 points"),
    ],
)
def test_a_start_that_does_not_fit_is_refused_in_one_line(start: object, user_message: str) -> None:
    with pytest.raises(VlmatchError, match=user_message) as error:
        gromov_wasserstein(*spaces(4, 4), start=start)
    assert "\n" not in str(error.value)
