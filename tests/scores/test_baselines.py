"""The scores without captions or images against independent implementations or closed forms."""

import math

import numpy as np
import pytest
import torch
from sklearn.decomposition import PCA
from sklearn.metrics import accuracy_score
from sklearn.model_selection import LeaveOneOut, cross_val_predict
from sklearn.neighbors import KNeighborsClassifier
from sklearn.preprocessing import normalize

from made_pairs import related
from vlmatch.encoders.spec_sheet import SpecSheet
from vlmatch.errors import VlmatchError
from vlmatch.geometry import PairedGeometry
from vlmatch.scores.knn_accuracy import KNNAccuracy
from vlmatch.scores.matrix_entropy import MatrixEntropy
from vlmatch.scores.participation_ratio import ParticipationRatio
from vlmatch.scores.rankme import RankMe
from vlmatch.scores.spec_sheet import Tokens

paired = PairedGeometry.angular


def test_the_participation_ratio_of_isotropic_features_is_their_dimension() -> None:
    random = np.random.default_rng(0)
    features = random.normal(size=(50, 7))
    white = PCA(7, whiten=True, svd_solver="full").fit_transform(features)
    captions = related(50)[1]
    assert ParticipationRatio()(paired(white + 3, captions)).value == pytest.approx(7)
    on_a_line = np.column_stack([np.arange(50), np.ones(50)])
    assert ParticipationRatio()(paired(on_a_line, captions)).value == pytest.approx(1)
    scales = np.array([5, 3, 2, 1, 1, 1, 1.0])
    expected = (scales**2).sum() ** 2 / (scales**4).sum()
    turn, _ = np.linalg.qr(random.normal(size=(90, 90)))
    wide = np.hstack([white * scales, np.zeros((50, 83))]) @ turn
    assert ParticipationRatio()(paired(wide + 3, captions)).value == pytest.approx(expected)


@pytest.mark.parametrize("d", [14, 120])
def test_rankme_is_its_definition_in_torch(d: int) -> None:
    images, captions = related(50, d=d)
    values = torch.linalg.svdvals(torch.tensor(images))
    shares = values / values.sum() + 1e-7
    expected = torch.exp(-(shares * torch.log(shares)).sum()).item()
    assert RankMe()(paired(images, captions)).value == pytest.approx(expected, rel=1e-9)


def test_rankme_and_entropy_of_an_orthogonal_basis_are_its_size() -> None:
    pair = paired(7 * np.eye(20), related(20)[1])
    assert RankMe()(pair).value == pytest.approx(20, rel=1e-4)
    assert MatrixEntropy()(pair).value == pytest.approx(math.log(20))


@pytest.mark.parametrize("d", [14, 120])
def test_matrix_entropy_is_that_of_the_density_matrix(d: int) -> None:
    images, captions = related(50, d=d)
    rows = normalize(images)
    values = np.linalg.svd(rows, compute_uv=False) ** 2 / 50
    assert values.sum() == pytest.approx(1)
    expected = -sum(value * math.log(value) for value in values if value > 1e-15)
    assert MatrixEntropy()(paired(images, captions)).value == pytest.approx(expected, abs=1e-9)


@pytest.mark.parametrize(("k", "n_labels"), [(1, 6), (5, 2), (11, 2)])
def test_knn_accuracy_is_scikit_learns_by_leave_one_out(k: int, n_labels: int) -> None:
    images, captions = related(70)
    codes = np.argmax(images[:, :n_labels] + np.random.default_rng(1).normal(size=(70, n_labels)), axis=1)
    labels = [f"label {code}" if row % 7 else None for row, code in enumerate(codes)]
    known = [row for row, label in enumerate(labels) if label is not None]
    classifier = KNeighborsClassifier(k, metric="cosine")
    predicted = cross_val_predict(classifier, images[known], codes[known], cv=LeaveOneOut())
    found = KNNAccuracy(k=k)(paired(images, captions, labels=labels))
    assert found.value == pytest.approx(accuracy_score(codes[known], predicted))
    assert found.details["labelled"] == 60
    assert found.details["commonest"] == pytest.approx(np.bincount(codes[known]).max() / 60)


def test_of_equally_common_labels_the_nearest_wins() -> None:
    angles = np.array([0.0, 0.1, 0.25, 1.5, 1.61, 1.7])
    circle = np.column_stack([np.cos(angles), np.sin(angles)])
    pair = paired(circle, related(6)[1], labels=["a", "a", "b", "b", "b", "a"])
    # The nearest two of each: a b, a b, a a, b a, a b, b b. The first of equal ones decides in all but the third.
    assert KNNAccuracy(k=2)(pair).value == pytest.approx(3 / 6)


@pytest.mark.parametrize(
    ("labels", "parts"),
    [
        (None, "0 labelled pairs with 0 labels"),
        (["a"] * 20, "20 labelled pairs with 1 labels"),
        (["a", "b"] * 5 + [None] * 10, "10 labelled pairs with 2 labels"),
    ],
)
def test_too_few_labels_are_one_line(labels, parts: str) -> None:
    with pytest.raises(VlmatchError, match=parts):
        KNNAccuracy()(paired(*related(20), labels=labels))


def test_tokens_are_capped() -> None:
    found = Tokens()(paired(*related(5), spec=SpecSheet(tokens=4096)))
    assert (found.value, found.details["uncapped"]) == (1024, 4096)
