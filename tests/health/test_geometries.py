"""Each check of embeddings on a planted fault and on its closed form, and silence where all is well."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.decomposition import PCA
from sklearn.neighbors import NearestNeighbors

from vlmatch.geometry import Geometry
from vlmatch.health.findings import Finding
from vlmatch.health.geometries import health_of, mean_cosine, neighbour_counts, participation_ratio


def normal(n: int, d: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=(n, d))


def findings(embeddings: np.ndarray, resolution: float = 1e-6) -> dict[str, Finding]:
    found = health_of(Geometry.angular(embeddings), "images", "model", resolution=resolution)
    assert {(each.side, each.model) for each in found} <= {("images", "model")}
    return {each.check: each for each in found}


def test_spread_points_have_no_finding() -> None:
    assert findings(normal(100, 8)) == {}


@settings(max_examples=25)
@given(n=st.integers(5, 40), d=st.integers(2, 30), shift=st.floats(0, 30), seed=st.integers(0, 10**6))
def test_the_participation_ratio_is_that_of_the_covariance_of_unit_vectors(
    n: int, d: int, shift: float, seed: int
) -> None:
    rows = normal(n, d, seed) + shift
    variances = PCA().fit(rows / np.linalg.norm(rows, axis=1, keepdims=True)).explained_variance_
    expected = variances.sum() ** 2 / np.square(variances).sum()
    assert participation_ratio(Geometry.angular(rows)) == pytest.approx(expected, rel=1e-6)


def test_orthogonal_points_fill_all_directions() -> None:
    geometry = Geometry.angular(np.eye(7))
    assert participation_ratio(geometry) == pytest.approx(6)
    assert mean_cosine(geometry) == pytest.approx(0)


def test_a_plane_is_a_collapse() -> None:
    turns = np.linspace(0, 1, 50)
    found = findings(np.stack([np.cos(turns), np.sin(turns), 0 * turns, 0 * turns], axis=1))
    assert found["collapsed"].warning
    assert found["collapsed"].figure < 2
    assert "encoder.feature" in found["collapsed"].remedy


def test_few_items_are_not_called_collapsed() -> None:
    assert "collapsed" not in findings(np.eye(4))


def test_angles_near_the_rounding_of_the_forward_pass_are_a_collapse() -> None:
    rows = 1 + 1e-2 * normal(60, 40)
    assert findings(rows)["shared_direction"].figure > 0.99
    assert "collapsed" not in findings(rows)
    coarse = findings(rows, resolution=2.0**-8)["collapsed"]
    assert coarse.figure == pytest.approx(Geometry.angular(rows).median)
    assert "trainer.precision=32-true" in coarse.remedy
    assert "weights" in findings(1 + 1e-6 * normal(60, 40))["collapsed"].remedy


@pytest.mark.parametrize(("cosine", "fires"), [(0.85, True), (0.75, False)])
def test_a_shared_direction_is_seen_by_the_mean_cosine(cosine: float, fires: bool) -> None:
    # Orthogonal vectors of length 1 and a common one of length c have the cosine c^2 / (1 + c^2).
    rows = np.hstack([np.eye(60), np.full((60, 1), np.sqrt(cosine / (1 - cosine)))])
    found = findings(rows)
    assert mean_cosine(Geometry.angular(rows)) == pytest.approx(cosine)
    assert ("shared_direction" in found) == fires
    if fires:
        assert "gw_centred" in found["shared_direction"].remedy


@pytest.mark.parametrize(("copies", "warning"), [(1, False), (3, True)])
def test_a_planted_copy_is_found_whatever_its_length(copies: int, warning: bool) -> None:
    rows = normal(300, 20)
    for place in range(copies):
        rows[200 + place] = 3 * rows[7 + place]
    found = findings(rows)["copies"]
    assert set(found.items) == {*range(7, 7 + copies), *range(200, 200 + copies)}
    assert found.figure == pytest.approx(2 * copies / 300)
    assert found.warning == warning


def test_near_items_are_no_copies() -> None:
    rows = normal(50, 20)
    rows[3] = rows[8] + 1e-3
    assert "copies" not in findings(rows)


def test_neighbour_counts_agree_with_scikit_learn() -> None:
    rows = normal(80, 6)
    nearest = NearestNeighbors(n_neighbors=11, metric="cosine").fit(rows).kneighbors(rows, return_distance=False)
    expected = np.bincount(nearest[:, 1:].ravel(), minlength=80)
    assert neighbour_counts(Geometry.angular(rows)).tolist() == expected.tolist()


def test_a_planted_hub_is_found() -> None:
    rows = np.hstack([np.eye(150), np.zeros((150, 1))]) + 1e-3 * normal(150, 151)
    rows[40] = 1  # the mean direction of all: the nearest neighbour of each
    found = findings(rows)["hubs"]
    assert found.warning
    assert found.items[0] == 40
    assert found.figure > 5
    assert "149 others" in found.measured


def test_evenly_spread_points_have_no_hub() -> None:
    turns = 2 * np.pi * np.arange(101) / 101
    circle = np.stack([np.cos(turns), np.sin(turns)], axis=1)
    assert (neighbour_counts(Geometry.angular(circle)) == 10).all()
    assert "hubs" not in findings(circle)


def test_with_fewer_items_than_neighbours_hubs_are_not_looked_for() -> None:
    assert findings(normal(11, 5)) == {}


@pytest.mark.parametrize(("constant", "warning"), [(1, False), (10, True)])
def test_constant_features_are_counted(constant: int, warning: bool) -> None:
    rows = normal(100, 20)
    rows[:, :constant] = [0.0, *[0.3] * (constant - 1)]
    found = findings(rows)["constant_features"]
    assert found.figure == constant / 20
    assert found.warning == warning


def test_more_features_than_pairs_is_a_note() -> None:
    assert not findings(normal(30, 31))["more_features_than_pairs"].warning
    assert "more_features_than_pairs" not in findings(normal(30, 30))
