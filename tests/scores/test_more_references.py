"""The scores beyond the paper's against independent implementations or closed forms."""

import math
from typing import Any

import numpy as np
import ot
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import multivariate_normal
from sklearn.decomposition import PCA
from sklearn.linear_model import RidgeCV
from sklearn.metrics import top_k_accuracy_score
from sklearn.metrics.pairwise import cosine_similarity
from sklearn.model_selection import KFold
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer, StandardScaler, normalize, scale

from made_pairs import related
from vlmatch.errors import VlmatchError
from vlmatch.geometry import PairedGeometry
from vlmatch.scores.cka import CKA
from vlmatch.scores.cka_debiased import CKADebiased
from vlmatch.scores.cknna import CKNNA
from vlmatch.scores.gw import GW
from vlmatch.scores.gw_centred import GWCentred
from vlmatch.scores.logme import LogME
from vlmatch.scores.matrix_entropy import MatrixEntropy
from vlmatch.scores.mutual_nn import MutualNN
from vlmatch.scores.mutual_nn_standardised import MutualNNStandardised
from vlmatch.scores.participation_ratio import ParticipationRatio
from vlmatch.scores.rankme import RankMe
from vlmatch.scores.ridge import ALPHAS
from vlmatch.scores.ridge_r2 import RidgeR2
from vlmatch.scores.ridge_retrieval import RidgeRetrieval
from vlmatch.scores.rsa import RSA

paired = PairedGeometry.angular


def centred_angles(embeddings: np.ndarray) -> np.ndarray:
    angles = np.arccos(np.clip(cosine_similarity(embeddings - embeddings.mean(axis=0)), -1, 1))
    np.fill_diagonal(angles, 0)
    return angles


def test_gw_centred_agrees_with_pots_conditional_gradient_for_the_l1_loss() -> None:
    n, (images, captions) = 9, related(9, 4)
    d_x, d_y = centred_angles(images), centred_angles(captions)
    upper = np.triu_indices(n, 1)
    d_x *= np.median(d_y[upper]) / np.median(d_x[upper])
    costs = np.abs(d_x[:, :, None, None] - d_y[None, None])  # i, k, j, l

    def gradient(coupling: np.ndarray) -> np.ndarray:
        return 2 * np.einsum("ikjl,kl->ij", costs, coupling)

    weights = np.full(n, 1 / n)
    coupling = ot.optim.cg(
        weights,
        weights,
        np.zeros((n, n)),
        1,
        lambda coupling: np.sum(gradient(coupling) * coupling) / 2,
        gradient,
        numItermax=1000,
        stopThr=1e-14,
        stopThr2=1e-14,
    )
    expected = np.sqrt(np.sum(gradient(coupling) * coupling) / 2)
    assert GWCentred()(paired(images, captions)).value == pytest.approx(expected, rel=1e-6)


def test_gw_centred_does_not_see_an_offset_that_gw_sees() -> None:
    images, captions = related(40)
    before, after = paired(images, captions), paired(images + 5, captions - 7)
    assert GWCentred()(after).value == pytest.approx(GWCentred()(before).value, rel=1e-9)
    assert GW()(after).value != pytest.approx(GW()(before).value, rel=0.1)
    centred = paired(images - images.mean(axis=0), captions - captions.mean(axis=0))
    assert GWCentred()(before).value == pytest.approx(GW()(centred).value, rel=1e-9)


@pytest.mark.parametrize("score", [GWCentred(), CKADebiased()])
def test_an_embedding_that_is_the_mean_is_one_line(score) -> None:
    images = np.vstack([np.eye(4), -np.eye(4), np.zeros(4)]) + 2
    with pytest.raises(VlmatchError, match=r"1 of 9 embeddings .* row 8; wanted none"):
        score(paired(images, related(9)[1]))


def hsic(k: np.ndarray, l: np.ndarray) -> float:  # noqa: E741 - as in the paper
    """Song et al. (2012), equation 5, summed over distinct indices one by one as in its definition, equation 4."""
    n, total = len(k), np.zeros(3)
    for i in range(n):
        for j in range(n):
            if i == j:
                continue
            total[0] += k[i, j] * l[i, j]
            for q in range(n):
                if q in (i, j):
                    continue
                total[1] += k[i, j] * l[i, q]
                total[2] += sum(k[i, j] * l[q, r] for r in range(n) if r not in (i, j, q))
    counts = math.perm(n, 2), math.perm(n, 3), math.perm(n, 4)
    return float(total[0] / counts[0] + total[2] / counts[2] - 2 * total[1] / counts[1])


def test_cka_debiased_is_the_ratio_of_sums_over_distinct_pairs() -> None:
    images, captions = related(12)
    k, l = (cosine_similarity(side - side.mean(axis=0)) for side in (images, captions))  # noqa: E741
    expected = hsic(k, l) / np.sqrt(hsic(k, k) * hsic(l, l))
    assert CKADebiased()(paired(images, captions)).value == pytest.approx(expected, abs=1e-9)


def test_cka_debiased_is_about_zero_for_strangers_of_many_dimensions_and_cka_is_not() -> None:
    random = np.random.default_rng(0)
    strangers = paired(random.normal(size=(200, 400)), random.normal(size=(200, 300)))
    assert abs(CKADebiased()(strangers).value) < 0.01
    assert CKA()(strangers).value > 0.4
    images, _ = related(200)
    assert CKADebiased()(paired(images, 3 * images - 5)).value == pytest.approx(1)


def platonic_cknna(feats_a: torch.Tensor, feats_b: torch.Tensor, k: int) -> float:
    """As platonic-rep defines it, in torch, without the 1e-6 that it adds to the denominator."""
    n = len(feats_a)

    def unbiased(one: torch.Tensor, other: torch.Tensor) -> torch.Tensor:
        one, other = one.clone().fill_diagonal_(0), other.clone().fill_diagonal_(0)
        cross = (one @ other).sum()
        both = (one * other.T).sum() + one.sum() * other.sum() / ((n - 1) * (n - 2)) - 2 * cross / (n - 2)
        return both / (n * (n - 3))

    def neighbours(kernel: torch.Tensor) -> torch.Tensor:
        nearest = kernel.clone().fill_diagonal_(-math.inf).topk(k, dim=1).indices
        return torch.zeros_like(kernel).scatter_(1, nearest, 1)

    def similarity(one: torch.Tensor, other: torch.Tensor) -> torch.Tensor:
        mask = neighbours(one) * neighbours(other)
        return unbiased(mask * one, mask * other)

    a, b = feats_a @ feats_a.T, feats_b @ feats_b.T
    return float(similarity(a, b) / (similarity(a, a) * similarity(b, b)).sqrt())


@pytest.mark.parametrize(("n", "k"), [(60, 10), (200, 5), (30, 29 - 1)])
def test_cknna_is_that_of_platonic_rep(n: int, k: int) -> None:
    images, captions = related(n)
    expected = platonic_cknna(*(torch.tensor(normalize(side)) for side in (images, captions)), k)
    assert CKNNA(k=k)(paired(images, captions)).value == pytest.approx(expected, abs=1e-9)


def test_cknna_of_a_space_with_itself_is_one() -> None:
    images, _ = related(60)
    assert CKNNA()(paired(images, images)).value == pytest.approx(1)


def test_mutual_nn_standardised_is_mutual_nn_of_scikit_learns_standardised_features() -> None:
    images, captions = related(80)
    images[:, 0] *= 100
    expected = MutualNN(k=7)(paired(scale(images), scale(captions))).value
    found = MutualNNStandardised(k=7)(paired(images, captions))
    assert found.value == pytest.approx(expected)
    assert found.value > MutualNN(k=7)(paired(images, captions)).value + 0.02


@pytest.mark.parametrize("d", [14, 120])
def test_ridge_retrieval_and_r2_are_scikit_learns_ridge_in_each_fold(d: int) -> None:
    images, captions = related(90, d=d)
    recalls, r2 = {1: [], 5: [], 10: []}, []
    for train, test in KFold(5, shuffle=True, random_state=0).split(images):
        axes = PCA(6, svd_solver="full").fit(captions[train])
        model = make_pipeline(StandardScaler(), RidgeCV(ALPHAS)).fit(images[train], axes.transform(captions[train]))
        truth, predicted = axes.transform(captions[test]), model.predict(images[test])
        r2.append(1 - np.square(truth - predicted).sum() / np.square(truth - truth.mean(axis=0)).sum())
        for k, found in recalls.items():
            for cosines in (cosine_similarity(predicted, truth), cosine_similarity(truth, predicted)):
                found.append(top_k_accuracy_score(np.arange(len(test)), cosines, k=k))
    pair = paired(images, captions)
    assert RidgeR2(components=6)(pair).value == pytest.approx(np.mean(r2), abs=1e-9)
    result = RidgeRetrieval(components=6)(pair)
    assert result.value == pytest.approx(np.mean(recalls[5]), abs=1e-9)
    for k, expected in recalls.items():
        ways = [result.details[f"{way}_at_{k}"] for way in ("image_to_caption", "caption_to_image")]
        assert np.mean(ways) == pytest.approx(np.mean(expected), abs=1e-9)
        assert ways == pytest.approx([np.mean(expected[::2]), np.mean(expected[1::2])], abs=1e-9)
    assert result.details["chance"] == pytest.approx(5 / 18)


@pytest.mark.parametrize("d", [14, 120])
def test_ridge_is_scikit_learns_on_features_clipped_to_six_standard_deviations(d: int) -> None:
    images, captions = related(90, d=d)
    images[5, 0] += 60
    images[40, 1] -= 60
    clip = FunctionTransformer(lambda features: np.clip(features, -6, 6))
    r2, unclipped = [], []
    for train, test in KFold(5, shuffle=True, random_state=0).split(images):
        axes = PCA(6, svd_solver="full").fit(captions[train])
        truth = axes.transform(captions[test])
        for steps, found in (([StandardScaler(), clip], r2), ([StandardScaler()], unclipped)):
            model = make_pipeline(*steps, RidgeCV(ALPHAS)).fit(images[train], axes.transform(captions[train]))
            errors = np.square(truth - model.predict(images[test])).sum()
            found.append(1 - errors / np.square(truth - truth.mean(axis=0)).sum())
    assert RidgeR2(components=6)(paired(images, captions)).value == pytest.approx(np.mean(r2), abs=1e-9)
    assert abs(np.mean(r2) - np.mean(unclipped)) > 1e-3, "so that clipping shows"


@pytest.mark.parametrize(
    ("score", "least"), [(CKA(), 3), (RSA(), 3), (MutualNN(k=4), 6), (RidgeR2(components=3, folds=3), 6)]
)
def test_a_score_takes_no_fewer_pairs_than_it_is_defined_for(score: Any, least: int) -> None:
    images, captions = related(least)
    assert np.isfinite(score(paired(images, captions)).value)
    with pytest.raises(VlmatchError, match=f"{least - 1} pairs, wanted at least {least}"):
        score(paired(images[:-1], captions[:-1]))


def test_by_chance_each_of_the_others_is_a_neighbour_equally_often() -> None:
    assert MutualNN(k=4)(paired(*related(21))).details["chance"] == pytest.approx(4 / 20)


def test_of_few_pairs_every_principal_component_of_the_captions_is_predicted() -> None:
    images, captions = related(20)
    captions = captions @ np.random.default_rng(4).normal(size=(captions.shape[1], 40))
    captions = captions + np.random.default_rng(5).normal(size=captions.shape)
    r2 = []
    for train, test in KFold(5, shuffle=True, random_state=0).split(images):
        axes = PCA(15, svd_solver="full").fit(captions[train])
        model = make_pipeline(StandardScaler(), RidgeCV(ALPHAS)).fit(images[train], axes.transform(captions[train]))
        truth = axes.transform(captions[test])
        errors = np.square(truth - model.predict(images[test])).sum()
        r2.append(1 - errors / np.square(truth - truth.mean(axis=0)).sum())
    assert RidgeR2(components=50)(paired(images, captions)).value == pytest.approx(np.mean(r2), abs=1e-9)


def test_ties_never_help_retrieval() -> None:
    images, _ = related(60)
    same = np.tile([[1.0, 0.0], [0.0, 1.0]], (30, 1)) + 1e-3
    assert RidgeRetrieval(components=1)(paired(images, same)).details["image_to_caption_at_1"] == 0


@pytest.mark.parametrize("d", [14, 120])
def test_logme_is_the_evidence_at_its_alpha_and_beta_and_close_to_the_largest(d: int) -> None:
    images, captions = related(50, d=d)
    target = PCA(1, svd_solver="full", whiten=True).fit_transform(captions)[:, 0] * np.sqrt(50 / 49)

    def evidence(alpha: float, beta: float) -> float:
        covariance = images @ images.T / alpha + np.eye(50) / beta
        return float(multivariate_normal(np.zeros(50), covariance).logpdf(target)) / 50

    alpha = beta = 1.0
    for _ in range(11):
        ratio = alpha / beta
        inverse = np.linalg.inv(images.T @ images + ratio * np.eye(d))
        weights = inverse @ images.T @ target
        effective = d - ratio * np.trace(inverse)
        alpha = effective / (weights @ weights + 1e-5)
        beta = (50 - effective) / (np.square(target - images @ weights).sum() + 1e-5)
        if abs(alpha / beta - ratio) / ratio <= 1e-3:
            break
    largest = max(evidence(a, b) for a in np.geomspace(0.1, 1e5, 25) for b in np.geomspace(0.1, 1e3, 25))
    found = LogME(components=1)(paired(images, captions)).value
    residual = np.square(target - images @ weights).sum()
    at_weights = (
        50 * np.log(beta / (2 * np.pi))
        - np.linalg.slogdet(np.eye(50) + beta / alpha * images @ images.T)[1]
        - beta * residual
        - alpha * weights @ weights
    ) / 100
    assert found == pytest.approx(at_weights, abs=1e-9)
    assert found == pytest.approx(evidence(alpha, beta), abs=2e-3)  # equal at the fixed point itself
    assert largest - 0.01 < found < largest + 0.002


def test_logme_of_more_features_than_pairs_is_a_number_whatever_their_scale() -> None:
    """At large scales their 1e-5 bounds alpha, and the evidence falls with the logarithm of the scale."""
    images, captions = related(20, d=40)
    at = {scale: LogME(components=1)(paired(scale * images, captions)).value for scale in (1e6, 1e8, 1e20)}
    assert at[1e8] - at[1e6] == pytest.approx(-np.log(1e2), abs=1e-6)
    assert at[1e20] - at[1e6] == pytest.approx(-np.log(1e14), abs=1e-6)


@pytest.mark.parametrize("score", [GWCentred(), CKADebiased(), ParticipationRatio(), RankMe(), MatrixEntropy()])
@given(seed=st.integers(0, 2**32 - 1), factor=st.floats(1e-3, 1e3))
@settings(max_examples=8)
def test_a_rotation_and_a_scale_change_nothing_nor_does_an_offset_after_centring(score, seed, factor) -> None:
    images, captions = related(24, seed)
    random = np.random.default_rng(seed)
    turn, _ = np.linalg.qr(random.normal(size=(14, 14)))
    offset = 0 if isinstance(score, RankMe | MatrixEntropy) else random.normal()
    moved = factor * (images + offset) @ turn
    assert score(paired(moved, captions)).value == pytest.approx(score(paired(images, captions)).value, rel=1e-6)
