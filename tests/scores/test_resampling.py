"""Subsamples and noise twins: the same subsamples for every encoder, their deviation, and noise of equal covariance."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from vlmatch.geometry import PairedGeometry
from vlmatch.scores.cca import CCA
from vlmatch.scores.cka import CKA
from vlmatch.scores.gw import GW, GWBest
from vlmatch.scores.mutual_nn import MutualNN
from vlmatch.scores.resampling import MOST, SUBSAMPLES, Resampled, gaussian_twin, subsample_rows, subsample_size
from vlmatch.scores.ridge_r2 import RidgeR2
from vlmatch.scores.rsa import RSA
from vlmatch.scores.scored import Scored, deviation_of_difference
from vlmatch.scores.spec_sheet import Width


def arrays(n: int, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    random = np.random.default_rng(seed)
    hidden = random.normal(size=(n, 5))
    images = hidden @ random.normal(size=(5, 90)) + random.normal(size=(n, 90)) + 1
    return images, hidden @ random.normal(size=(5, 12)) + random.normal(size=(n, 12)) - 1


@given(n=st.integers(2, 3000), most=st.integers(1, 600))
def test_subsamples_are_distinct_pairs_and_nested(n: int, most: int) -> None:
    rows, larger = subsample_rows(n, most), subsample_rows(n, most + 7)
    assert len(rows) == SUBSAMPLES
    for each, more in zip(rows, larger, strict=True):
        assert len(each) == min(n // 2, most) == len(set(each.tolist()))
        assert each.tolist() == more[: len(each)].tolist()
        assert each.min(initial=0) >= 0
        assert each.max(initial=0) < n


@pytest.mark.parametrize("score", [GW(), RSA(), CCA(components=5), CKA(), MutualNN(k=3), RidgeR2(components=5)])
def test_values_on_subsamples_are_those_of_the_pairs_alone(score) -> None:
    images, captions = arrays(60)
    noise, values = Resampled(PairedGeometry.angular(images, captions)).values(score)
    alone = [score(PairedGeometry.angular(images[rows], captions[rows])).value for rows in subsample_rows(60)]
    assert values == pytest.approx(alone, rel=1e-9)
    assert noise == pytest.approx(score(PairedGeometry.angular(gaussian_twin(images), captions)).value, rel=1e-9)


@pytest.mark.parametrize("d", [3, 200])
def test_noise_has_the_mean_and_covariance_of_the_encoder(d: int) -> None:
    embeddings = np.random.default_rng(1).normal(size=(60, d)) * np.linspace(1, 5, d) + 4
    twin = gaussian_twin(embeddings)
    assert twin.shape == embeddings.shape
    np.testing.assert_array_equal(twin, gaussian_twin(embeddings))
    many = np.random.default_rng(2).normal(size=(4000, d)) * np.linspace(1, 5, d) + 4
    noise = gaussian_twin(many)
    spread = many.std(axis=0)
    assert np.abs((noise.mean(axis=0) - many.mean(axis=0)) / spread).max() < 5 / 4000**0.5
    covariances = [np.cov(((each - many.mean(axis=0)) / spread).T) for each in (noise, many)]
    assert np.abs(covariances[0] - covariances[1]).max() < 0.15


def test_noise_is_a_stranger_to_the_captions_in_the_same_directions() -> None:
    images, captions = arrays(200)
    pair = PairedGeometry.angular(images, captions)
    noise, _ = Resampled(pair).values(MutualNN())
    assert noise == pytest.approx(10 / 199, abs=0.02)
    assert MutualNN()(pair).value > 2 * noise
    rank = np.linalg.matrix_rank(images - images.mean(axis=0))
    assert np.linalg.matrix_rank(np.vstack([images, gaussian_twin(images)]) - images.mean(axis=0)) == rank


def test_scores_that_look_at_no_picture_have_no_twin_and_some_are_not_resampled() -> None:
    resampled = Resampled(PairedGeometry.angular(*arrays(30)))
    assert resampled.values(Width()) == (None, ())
    noise, values = resampled.values(GWBest())
    assert noise is not None
    assert values == ()


def test_too_few_pairs_for_a_subsample_leave_the_value_without_deviation() -> None:
    noise, values = Resampled(PairedGeometry.angular(*arrays(20))).values(MutualNN())
    assert noise is not None
    assert values == ()


def test_gw_takes_at_most_300_pairs() -> None:
    assert (subsample_size(644, GW()), subsample_size(644, RSA()), subsample_size(10_000, RSA())) == (300, 322, MOST)


def scored(values: list[float], n: int = 100, m: int = 50) -> Scored:
    return Scored(0, {}, "S", True, ("images",), 1, {}, None, tuple(values), n, m)


def test_the_deviation_is_that_of_the_mean_over_all_pairs() -> None:
    """Closed form: the mean of n independent values of variance 1 has standard deviation 1 / sqrt(n)."""
    random, found = np.random.default_rng(0), []
    for _ in range(300):
        values = random.normal(size=200)
        means = [float(values[random.permutation(200)[:150]].mean()) for _ in range(SUBSAMPLES)]
        found.append(scored(means, 200, 150).deviation)
    assert np.mean(np.square(found)) == pytest.approx(1 / 200, rel=0.05)


def test_the_deviation_of_a_difference_is_without_what_both_share() -> None:
    shared = np.random.default_rng(0).normal(size=20)
    one, other = scored([*shared]), scored([*(shared - 3)])
    assert deviation_of_difference(one, other) == pytest.approx(0, abs=1e-12)
    assert one.deviation == pytest.approx(np.std(shared, ddof=1))
    independent = scored([*np.random.default_rng(1).normal(size=20)])
    expected = np.std(shared - np.array(independent.subsamples), ddof=1)
    assert deviation_of_difference(one, independent) == pytest.approx(expected)


def test_without_equal_subsamples_there_is_no_deviation() -> None:
    one = scored([1.0, 2.0, 3.0])
    assert scored([]).deviation is None
    assert deviation_of_difference(one, scored([])) is None
    assert deviation_of_difference(one, scored([1.0, 2.0, 4.0], 90, 45)) is None
    with pytest.raises(ValueError, match="'S' and 'T'"):
        deviation_of_difference(one, replace(one, title="T"))


@pytest.mark.parametrize(
    ("values", "n", "m", "expected"),
    [
        ([1.0, 4.0], 100, 50, 3 / np.sqrt(2)),
        ([1.0, 4.0], 100, 80, 3 / np.sqrt(2) * 2),
        ([1.0], 100, 50, None),
        ([1.0, 4.0], 100, 0, None),
        ([1.0, 4.0], 100, 100, None),
    ],
)
def test_two_proper_subsamples_are_the_fewest_with_a_deviation(
    values: list[float], n: int, m: int, expected: float | None
) -> None:
    assert scored(values, n, m).deviation == (None if expected is None else pytest.approx(expected))
