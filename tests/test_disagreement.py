"""Shares against the sums that define them, planted misfits found, and the values of labels adding up to the score."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from vlmatch.disagreement import OTHER, by_label, disagreement
from vlmatch.errors import VlmatchError
from vlmatch.geometry import PairedGeometry
from vlmatch.scores.gw_paired import GWPaired
from vlmatch.scores.mutual_nn import MutualNN
from vlmatch.scores.ridge_r2 import RidgeR2


def geometry(images: np.ndarray, captions: np.ndarray) -> PairedGeometry:
    return PairedGeometry.angular(images, captions)


def unrelated(n: int, seed: int = 0) -> PairedGeometry:
    random = np.random.default_rng(seed)
    return geometry(random.normal(size=(n, 6)) + 1, random.normal(size=(n, 4)) + 1)


def turned(n: int, dimension: int = 5, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Images, and captions that are the same points turned: both have the same angles."""
    random = np.random.default_rng(seed)
    points = random.normal(size=(n, dimension))
    return points, points @ np.linalg.qr(random.normal(size=(dimension, dimension)))[0]


@settings(max_examples=15)
@given(n=st.integers(12, 40), seed=st.integers(0, 10**6))
def test_the_shares_of_all_pairs_sum_to_1_and_none_is_negative(n: int, seed: int) -> None:
    found = disagreement(unrelated(n, seed))
    assert set(found.shares) == {"gw_paired", "mutual_nn", "ridge_r2"}
    for share in found.shares.values():
        assert share.sum() == pytest.approx(1)
        assert share.min() >= 0
    assert sorted(found.order) == list(range(n))


def test_the_pairs_values_average_to_the_scores() -> None:
    pair = unrelated(60)
    found = disagreement(pair)
    assert found.fits["mutual_nn"].mean() == pytest.approx(MutualNN()(pair).value)
    assert found.fits["ridge_r2"].mean() == pytest.approx(RidgeR2()(pair).value)


def test_a_pairs_share_of_the_distortion_is_its_row_of_the_energy() -> None:
    pair = unrelated(12)
    row = sum(abs(pair.scale * pair.image.distances[3, j] - pair.text.distances[3, j]) for j in range(12))
    energy = GWPaired()(pair).details["energy"]
    assert disagreement(pair).shares["gw_paired"][3] == pytest.approx(row / (144 * energy))


@pytest.mark.parametrize("score", ["gw_paired", "mutual_nn", "ridge_r2"])
@pytest.mark.parametrize("swapped", [(0, 1), (17, 44)])
def test_two_pairs_with_each_others_captions_fit_worst(score: str, swapped: tuple[int, int]) -> None:
    images, _ = turned(80)
    one, other = swapped
    images[other] = -images[one]  # far apart, so that a swap shows
    captions = images @ np.linalg.qr(np.random.default_rng(1).normal(size=(5, 5)))[0]
    captions[[one, other]] = captions[[other, one]]
    found = disagreement(geometry(images, captions))
    assert set(np.argsort(-found.shares[score], kind="stable")[:2]) == set(swapped)


def test_the_swapped_pairs_come_first_and_are_named() -> None:
    images, captions = turned(80)
    captions[[5, 9]] = captions[[9, 5]]
    found = disagreement(geometry(images, captions))
    ids = [f"item{i}" for i in range(80)]
    worst = found.worst(2, ids)
    assert {each.id for each in worst} == {"item5", "item9"}
    assert worst[0].times_mean == pytest.approx(80 * worst[0].share)
    assert worst[0].share == found.shares["mutual_nn"].max()
    assert not {"item5", "item9"} & {each.id for each in found.best(40, ids)}
    assert [each.index for each in found.best(80, ids)] == list(found.order[::-1])


def test_neighbours_that_are_far_on_the_other_side_break_ties() -> None:
    images, captions = turned(60, seed=3)
    captions = captions + np.random.default_rng(0).normal(size=captions.shape)
    found = disagreement(geometry(images, captions))
    fit = found.fits["mutual_nn"][found.order]
    assert (np.diff(fit) >= 0).all()
    assert len(set(fit)) < 12  # so that there are ties to break

    def mean_rank(i: int) -> float:
        sides = [np.argsort(np.argsort(d)) for d in (found_images[i], found_captions[i])]
        near = [np.argsort(d)[1:11] for d in (found_images[i], found_captions[i])]
        return float(np.concatenate([sides[1][near[0]], sides[0][near[1]]]).mean())

    pair = geometry(images, captions)
    found_images, found_captions = pair.image.distances, pair.text.distances
    for value in set(fit):
        ranks = [mean_rank(i) for i in found.order[fit == value]]
        assert ranks == sorted(ranks, reverse=True)


def test_where_nothing_disagrees_all_pairs_have_the_same_share() -> None:
    images, _ = turned(40)
    found = disagreement(geometry(images, images))
    for score in ("gw_paired", "mutual_nn"):
        np.testing.assert_allclose(found.shares[score], 1 / 40)


def test_too_few_pairs_leave_a_partial_answer_that_says_what_is_missing() -> None:
    found = disagreement(unrelated(9))
    assert set(found.shares) == {"gw_paired"} == {found.main}
    assert "9 pairs, wanted at least 12" in found.missing["mutual_nn"]
    assert "9 pairs, wanted at least 10" in found.missing["ridge_r2"]
    assert found.order[0] == found.shares["gw_paired"].argmax()


def test_only_the_scores_asked_for_are_computed() -> None:
    found = disagreement(unrelated(20), ["mutual_nn"])
    assert (set(found.shares), set(found.fits), found.missing) == ({"gw_paired", "mutual_nn"}, {"mutual_nn"}, {})
    with pytest.raises(VlmatchError, match="disagreement by cka; wanted some of gw_paired, mutual_nn, ridge_r2"):
        disagreement(unrelated(20), ["mutual_nn", "cka"])


def test_the_options_of_a_score_count() -> None:
    pair = unrelated(30)
    found = disagreement(pair, ["mutual_nn"], mutual_nn=MutualNN(k=4))
    assert found.fits["mutual_nn"].mean() == pytest.approx(MutualNN(k=4)(pair).value)


def test_a_label_has_the_mean_of_its_pairs_and_their_standard_error() -> None:
    fit = np.arange(50.0)
    labels = ["a"] * 20 + ["b"] * 30
    found = by_label({"x": fit, "y": -fit}, labels)
    assert [(each.label, each.n_pairs) for each in found.labels] == [("b", 30), ("a", 20)]
    assert found.labels[1].values == {"x": 9.5, "y": -9.5}
    assert found.labels[1].errors["x"] == pytest.approx(np.sqrt(35 / 20))  # of 0 ... 19 the variance is 35
    assert found.missing is None


@settings(max_examples=30)
@given(labels=st.lists(st.sampled_from("abcdefg"), min_size=20, max_size=80))
def test_the_labels_weighted_by_their_pairs_add_up_to_the_score(labels: list[str]) -> None:
    fit = np.random.default_rng(0).normal(size=len(labels))
    found = by_label({"x": fit}, labels, least=5)
    total = sum(each.n_pairs * each.values["x"] for each in found.labels)
    out = np.isin(labels, list(found.left_out))
    assert total == pytest.approx(fit[~out].sum())
    assert sum(each.n_pairs for each in found.labels) + sum(found.left_out.values()) == len(labels)


def test_small_labels_are_pooled_and_named() -> None:
    labels = ["big"] * 25 + ["c"] * 15 + ["d"] * 10
    found = by_label({"x": np.arange(50.0)}, labels)
    assert [(each.label, each.n_pairs) for each in found.labels] == [("big", 25), (OTHER, 25)]
    assert found.pooled == {"c": 15, "d": 10}
    assert found.labels[1].values["x"] == 37


def test_pairs_in_no_value_are_named() -> None:
    labels = [None] * 10 + ["big"] * 25 + ["c"] * 3
    found = by_label({"x": np.zeros(38)}, labels)
    assert found.unlabelled == 10
    assert found.missing == (
        "not in any value by label: 10 pairs without a label; the labels c (3), which have too few pairs"
    )


@pytest.mark.parametrize(
    ("fits", "labels", "least", "message"),
    [
        ({"x": np.zeros(3)}, [None] * 3, 20, "none of the 3 pairs has a label"),
        ({"x": np.zeros(3)}, ["a", "b", None], 20, r"no label has 20 pairs or more.*2 pairs"),
        ({"x": np.zeros(4)}, ["a"] * 3, 2, "fits of 'x': 4 values for 3 labels"),
        ({"x": np.zeros(3)}, ["a"] * 3, 1, "least=1"),
    ],
)
def test_labels_that_give_no_value_are_one_line(
    fits: dict[str, np.ndarray], labels: list[str | None], least: int, message: str
) -> None:
    with pytest.raises(VlmatchError, match=message) as error:
        by_label(fits, labels, least)
    assert "\n" not in str(error.value)
