"""Credits: exact chance over all assignments of pictures to texts, leave-one-out priors, and shared ties."""

from itertools import permutations

import numpy as np
import pytest

from vlmatch.benchmarks.choices import above_prior, choice, gain, retrieval


def made(seed: int, pictures: int = 5, texts: int = 5) -> np.ndarray:
    """Random log-likelihoods with strong priors and some ties."""
    random = np.random.default_rng(seed)
    found = random.normal(size=(pictures, texts)) + 5 * random.normal(size=texts)
    found[:, 1] = found[:, 0]
    found[2] = found[3]
    return found


def test_the_prior_leaves_out_the_picture_itself() -> None:
    values = made(0)
    for picture in range(5):
        others = np.delete(values, picture, axis=0).mean(axis=0)
        np.testing.assert_allclose(above_prior(values)[picture], values[picture] - others)


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("credit", [choice, retrieval])
def test_chance_is_exact_over_all_assignments(credit: object, seed: int) -> None:
    values = made(seed)
    scores = [np.diag(credit(values[list(order)])).mean() for order in permutations(range(5))]  # type: ignore[operator]
    assert np.mean(scores) == pytest.approx(1 / 5, abs=1e-12)
    assert np.std(scores) > 0.05


def test_gain_is_zero_over_all_assignments_and_is_divided_by_tokens() -> None:
    values, tokens = made(1), np.array([1, 2, 3, 4, 5])
    scores = [np.diag(gain(values[list(order)], tokens)).mean() for order in permutations(range(5))]
    assert np.mean(scores) == pytest.approx(0, abs=1e-12)
    assert gain(values, tokens)[0, 2] == pytest.approx((values[0, 2] - values[1:, 2].mean()) / 3)


def test_a_model_that_sees_gets_all_credit_in_spite_of_priors() -> None:
    prior = 50 * np.random.default_rng(0).normal(size=6)
    np.testing.assert_array_equal(choice(prior + 2 * np.eye(6)), np.eye(6))
    np.testing.assert_array_equal(retrieval(prior + 2 * np.eye(6)), np.eye(6))


def test_ties_share_the_credit_and_rounding_is_ignored() -> None:
    blind = np.tile(np.array([-3.0, -9.0, -5.0, -7.0]), (4, 1)) + 1e-6 * np.random.default_rng(0).normal(size=(4, 4))
    np.testing.assert_array_equal(choice(blind), 0.25)
    np.testing.assert_array_equal(retrieval(blind), 0.25)
    two = np.array([[1.0, 1.0, 0.0], [0.0, 0.0, 0.0], [0.0, 0.0, 0.0]])
    np.testing.assert_allclose(choice(two)[0], [0.5, 0.5, 0])
