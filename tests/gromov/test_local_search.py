"""Descents followed by swaps: never higher, still stationary, and always at an end."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.spatial.distance import cdist

from made_spaces import LOSSES, cloud, grid, half_gradient, weights
from vlmatch.gromov import Space, gromov_wasserstein
from vlmatch.gromov.exchange import two_exchange

every_loss = pytest.mark.parametrize("loss", LOSSES)


@settings(max_examples=60)
@given(
    n=st.integers(1, 15),
    seed=st.integers(0, 10**6),
    tied=st.booleans(),
    loss=st.sampled_from(["l1", "l2"]),
    start=st.sampled_from(["product", "random", "identity", "best"]),
)
def test_it_never_raises_the_energy_and_ends_stationary(n: int, seed: int, tied: bool, loss: str, start: str) -> None:
    x, y = (grid(n, 1, seed), grid(n, 2, seed + 1)) if tied else (cloud(n, 2, seed), cloud(n, 4, seed + 1))
    before = gromov_wasserstein(x, y, loss=loss, start=start, seed=seed)
    after = gromov_wasserstein(x, y, loss=loss, start=start, seed=seed, local_search=True)
    assert after.energy <= before.energy + 1e-13 * before.energies[0]
    assert after.converged
    assert after.energies[: before.iterations] == before.energies[:-1] or start == "best"
    assert (np.diff(after.energies) <= 1e-6 * after.energies[0]).all()


@every_loss
def test_it_goes_on_where_the_descent_from_a_random_start_ends(loss: str) -> None:
    lower = 0
    for seed in range(6):
        x, y = Space.of(cloud(40, 3, seed)), Space.of(cloud(40, 6, seed + 100))
        before, after = (
            gromov_wasserstein(x, y, loss=loss, start="random", seed=seed, local_search=search)
            for search in (False, True)
        )
        lower += after.energy < before.energy * (1 - 1e-6)
        sigma = after.coupling.permutation
        gradient = half_gradient(x.distances, y.distances, after.coupling.dense(), loss)
        assert two_exchange(x, y, sigma, gradient, loss=loss).swaps == 0
    assert lower >= 3


@pytest.mark.parametrize("seed", [42, 68, 113, 140])
def test_it_ends_where_single_precision_sees_ties_that_double_precision_does_not(seed: int) -> None:
    """Swaps gain 1e-9, and a descent in single precision may lose it again."""
    random = np.random.default_rng(seed)
    x, y = (random.integers(3, size=(20, 1)) + 1e-9 * random.normal(size=(20, 1)) for _ in range(2))
    before, after = (
        gromov_wasserstein(cdist(x, x), cdist(y, y), start="random", local_search=search) for search in (False, True)
    )
    assert after.energy <= before.energy
    assert after.converged


@pytest.mark.parametrize("start", ["product", "best"])
def test_weights_and_unequal_sizes_have_no_partners_to_swap_and_are_left_alone(start: str) -> None:
    x, y, p = cloud(9, 2, 0), cloud(9, 3, 1), weights(9, 0)
    for given_spaces in ((Space.of(x, p), Space.of(x, p)), (Space.of(x, p), Space.of(y, p)), (x, cloud(7, 2, 1))):
        found, plain = (gromov_wasserstein(*given_spaces, start=start, local_search=search) for search in (True, False))
        assert found.energies == plain.energies
