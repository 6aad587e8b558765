"""The l1 gradients against sums over all four indices, written out."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numba import get_num_threads, set_num_threads
from scipy.spatial.distance import pdist, squareform

from vlmatch.gromov import l1


def distances(n: int, seed: int) -> np.ndarray:
    """Distances within a random cloud; rounded for odd seeds, so that ties and zeros occur."""
    matrix = squareform(pdist(np.random.default_rng(seed).normal(size=(n, 3)))) if n > 1 else np.zeros((1, 1))
    return matrix.round(seed % 2 or 15)


def gradient_by_definition(x: np.ndarray, y: np.ndarray, coupling: np.ndarray) -> np.ndarray:
    return np.einsum("ikjl,kl->ij", np.abs(x[:, :, None, None] - y[None, None]), coupling)


@settings(max_examples=25, deadline=None)
@given(n=st.integers(1, 13), seed=st.integers(0, 10**6))
def test_gradients_are_the_sums_of_their_definition(n: int, seed: int) -> None:
    x, y = distances(n, seed), distances(n, seed + 1)
    permutation = np.random.default_rng(seed).permutation(n)
    product = np.full((n, n), 1 / n**2)
    np.testing.assert_allclose(l1.at_product(x, y), gradient_by_definition(x, y, product), rtol=1e-12, atol=1e-14)
    matching = np.eye(n)[permutation] / n
    np.testing.assert_allclose(
        l1.at_permutation(x, y, permutation), gradient_by_definition(x, y, matching), rtol=1e-12, atol=1e-14
    )


def test_a_permutation_of_a_space_costs_that_space_exactly_nothing() -> None:
    x = distances(30, 2)
    permutation = np.random.default_rng(0).permutation(30)
    inverse = np.argsort(permutation)
    y = x[np.ix_(inverse, inverse)]  # point permutation[i] of y is point i of x
    assert (l1.at_permutation(x, y, permutation)[np.arange(30), permutation] == 0).all()


@pytest.mark.skipif(get_num_threads() < 2, reason="one core has one order")
def test_the_number_of_threads_does_not_change_a_bit() -> None:
    x, y = distances(61, 4), distances(61, 6)
    threads = get_num_threads()
    several = l1.at_product(x, y), l1.at_permutation(x, y, np.arange(61))
    set_num_threads(1)
    try:
        one = l1.at_product(x, y), l1.at_permutation(x, y, np.arange(61))
    finally:
        set_num_threads(threads)
    assert all((a == b).all() for a, b in zip(several, one, strict=True))
