"""Angles against closed forms and scikit-learn, the paper's scaling, and one line for every bad input."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics.pairwise import cosine_similarity

from vlmatch.encoders.spec_sheet import SpecSheet
from vlmatch.errors import VlmatchError
from vlmatch.geometry import Geometry, PairedGeometry, angular_distances, upper_triangle


def random_embeddings(n: int, d: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=(n, d))


@pytest.mark.parametrize("angle", [0.0, 1e-12, 1e-9, 1e-6, 1e-3, 0.5, np.pi / 2, 3.0])
def test_a_known_angle_is_measured_to_the_last_digits(angle: float) -> None:
    for turn in (0.0, 1.0, 4.0):
        rows = np.array([[np.cos(t), np.sin(t)] for t in (turn, turn + angle)])
        assert angular_distances(rows)[0, 1] == pytest.approx(angle, abs=4e-15, rel=0)


def test_opposite_directions_are_pi_apart() -> None:
    rows = random_embeddings(1, 50)
    assert angular_distances(np.vstack([rows, -3 * rows]))[0, 1] == pytest.approx(np.pi, abs=3e-8)


def test_angles_agree_with_scikit_learns_cosines_where_arccos_is_accurate() -> None:
    embeddings = random_embeddings(60, 20)
    expected = np.arccos(np.clip(cosine_similarity(embeddings), -1, 1))
    np.testing.assert_allclose(
        upper_triangle(angular_distances(embeddings)), upper_triangle(expected), rtol=0, atol=1e-13
    )


@settings(max_examples=40)
@given(n=st.integers(2, 20), d=st.integers(1, 30), seed=st.integers(0, 10**6), exponent=st.integers(-250, 250))
def test_angles_form_a_metric_that_ignores_the_length_of_rows(n: int, d: int, seed: int, exponent: int) -> None:
    embeddings = random_embeddings(n, d, seed)
    distances = Geometry.angular(embeddings).distances
    assert (distances == distances.T).all()
    assert (distances.diagonal() == 0).all()
    assert distances.min() >= 0
    assert distances.max() <= np.pi
    through_another = (distances[:, :, None] + distances[None, :, :]).min(axis=1)
    assert (distances <= through_another + 1e-7).all()
    lengths = np.random.default_rng(seed).uniform(0.5, 2, size=(n, 1)) * 10.0**exponent
    np.testing.assert_allclose(Geometry.angular(embeddings * lengths).distances, distances, atol=3e-8)


def test_equal_rows_are_exactly_at_distance_zero() -> None:
    embeddings = random_embeddings(4, 300)
    assert angular_distances(np.vstack([embeddings, embeddings]))[:4, 4:].diagonal().max() == 0


def test_the_upper_triangle_holds_each_pair_once() -> None:
    matrix = np.array([[0.0, 1, 2], [1, 0, 3], [2, 3, 0]])
    assert upper_triangle(matrix).tolist() == [1, 2, 3]


def test_scaling_brings_the_image_medians_to_the_texts() -> None:
    pair = PairedGeometry.angular(
        random_embeddings(31, 8), random_embeddings(31, 5, 1) + 3, spec=SpecSheet(parameters=7)
    )
    assert np.median(upper_triangle(pair.scaled_image_distances)) == pytest.approx(pair.text.median, rel=1e-14)
    off_diagonal = ~np.eye(31, dtype=bool)
    assert pair.scale == np.median(pair.text.distances[off_diagonal]) / np.median(pair.image.distances[off_diagonal])
    assert pair.spec.parameters == 7


def test_any_float_array_is_measured_in_float64() -> None:
    embeddings = random_embeddings(5, 4).astype(np.float32)
    expected = Geometry.angular(embeddings.astype(np.float64)).distances
    for given_as in (embeddings, torch.from_numpy(embeddings), embeddings.tolist()):
        geometry = Geometry.angular(given_as)
        assert geometry.embeddings.dtype == geometry.distances.dtype == np.float64
        assert (geometry.distances == expected).all()


def with_value(value: float) -> np.ndarray:
    embeddings = random_embeddings(6, 3)
    embeddings[4] = value
    return embeddings


@pytest.mark.parametrize(
    ("embeddings", "user_message"),
    [
        (np.zeros(5), r"text embeddings: shape \(5,\), wanted n x d"),
        (np.zeros((5, 2, 2)), r"shape \(5, 2, 2\)"),
        (np.zeros((6, 0)), r"shape \(6, 0\)"),
        (np.ones((1, 4)), r"shape \(1, 4\), wanted n x d with n >= 2"),
        (with_value(np.nan), "1 of 6 rows hold NaN or infinity, the first at row 4"),
        (with_value(np.inf), "1 of 6 rows hold NaN or infinity, the first at row 4"),
        (with_value(0.0), "1 of 6 rows are all zeros and have no direction, the first at row 4"),
        (np.ones((6, 4)), "constant"),
        (np.ones((6, 4)) + 1e-8 * random_embeddings(6, 4), "constant"),
        (random_embeddings(7, 4), "6 image embeddings but 7 text embeddings"),
    ],
)
def test_bad_embeddings_are_one_line_that_says_what_was_wanted(embeddings: np.ndarray, user_message: str) -> None:
    with pytest.raises(VlmatchError, match=user_message) as error:
        PairedGeometry.angular(random_embeddings(6, 3), embeddings)
    assert "\n" not in str(error.value)


def test_two_pairs_make_a_geometry() -> None:
    pair = PairedGeometry.angular([[1.0, 0.0], [0.0, 1.0]], [[1.0, 0.0], [-1.0, 0.0]])
    assert pair.scale == pytest.approx(2)
