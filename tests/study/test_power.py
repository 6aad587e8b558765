"""The smallest effects that a block can show: against closed forms, simulated studies, and scipy."""

import numpy as np
import pytest
from scipy.stats import spearmanr, ttest_rel

from vlmatch_study.power import POWER, Errors, smallest_difference, smallest_effect, smallest_spread, spearmans

ERRORS = Errors(seeds=2, seed_sd=0.011, item_se=0.011)


def test_only_the_part_between_seeds_falls_with_their_number() -> None:
    assert ERRORS.of_truth == pytest.approx(0.011 * np.sqrt(1.5))
    assert Errors(10_000, 0.011, 0.011).of_truth == pytest.approx(0.011, rel=1e-3)


def test_a_paired_t_test_finds_the_smallest_difference_in_four_of_five_studies(random: np.random.Generator) -> None:
    difference = smallest_difference(4, ERRORS)
    before, after = ERRORS.of_truth * random.standard_normal((2, 20_000, 4))
    found = ttest_rel(after + difference, before, axis=1).pvalue < 0.05
    assert found.mean() == pytest.approx(POWER, abs=0.01)
    assert smallest_difference(16, ERRORS) < difference < smallest_difference(4, ERRORS, varies=0.02)


def test_without_errors_the_smallest_correlation_is_that_of_the_samples_size() -> None:
    exact = Errors(seeds=1, seed_sd=0.0, item_se=0.0)
    few, many = (smallest_effect(n, exact, spread=0.04) for n in (16, 64))
    assert few == pytest.approx(0.66, abs=0.03)  # by Fisher's z: tanh((1.96 + .84) / sqrt((n - 3) / 1.06)) = .65
    assert many == pytest.approx(0.35, abs=0.03)
    noisy = smallest_effect(16, ERRORS, spread=0.04)
    assert noisy is not None
    assert noisy > few
    assert smallest_effect(16, ERRORS, spread=0.001) is None, "the errors hide even a score that is the truth itself"


def test_scores_that_agree_are_harder_to_tell_apart(random: np.random.Generator) -> None:
    followed = np.arange(16.0)
    opposite, alike = -followed, followed[[1, 0, *range(2, 14), 15, 14]]
    far, near = (smallest_spread(followed, other, ERRORS) for other in (opposite, alike))
    assert far is not None
    assert near is not None
    assert far < near
    assert smallest_spread(followed, followed, ERRORS) is None


def test_spearman_is_scipys_with_ties_too(random: np.random.Generator) -> None:
    left, right = random.integers(0, 6, (2, 5, 12)).astype(float)
    np.testing.assert_allclose(
        spearmans(left, right), [spearmanr(a, b).statistic for a, b in zip(left, right, strict=True)]
    )
