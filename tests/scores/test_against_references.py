"""Each score's number against an independent implementation or a closed form."""

import numpy as np
import pytest
from scipy.linalg import subspace_angles
from scipy.stats import kendalltau, rankdata
from sklearn import cross_decomposition
from sklearn.decomposition import PCA
from sklearn.linear_model import Ridge
from sklearn.metrics.pairwise import cosine_similarity
from sklearn.model_selection import GridSearchCV, KFold, LeaveOneOut
from sklearn.preprocessing import normalize, scale

from made_pairs import related
from vlmatch.encoders.spec_sheet import SpecSheet
from vlmatch.errors import VlmatchError
from vlmatch.geometry import PairedGeometry
from vlmatch.gromov import gromov_wasserstein
from vlmatch.scores.base import ScoreResult
from vlmatch.scores.cca import CCA
from vlmatch.scores.cka import CKA
from vlmatch.scores.gw import GW
from vlmatch.scores.gw_paired import GWPaired
from vlmatch.scores.mutual_nn import MutualNN
from vlmatch.scores.ridge import ALPHAS
from vlmatch.scores.ridge_r2 import RidgeR2
from vlmatch.scores.rsa import RSA
from vlmatch.scores.spec_sheet import Parameters


def paired(images: np.ndarray, captions: np.ndarray) -> PairedGeometry:
    return PairedGeometry.angular(images, captions, spec=SpecSheet(parameters=86_567_656))


def angles(embeddings: np.ndarray) -> np.ndarray:
    """arccos(cosine), as the paper writes it."""
    distances = np.arccos(np.clip(cosine_similarity(embeddings), -1, 1))
    np.fill_diagonal(distances, 0)
    return distances


def off_diagonal(distances: np.ndarray) -> np.ndarray:
    return distances[np.triu_indices(len(distances), 1)]


def test_rsa_is_the_correlation_of_ranks() -> None:
    images, captions = related(40)
    ranks = [rankdata(off_diagonal(angles(side)).round(12)) for side in (images, captions)]
    assert RSA()(paired(images, captions)).value == pytest.approx(np.corrcoef(*ranks)[0, 1], abs=1e-9)


def test_rsa_is_one_where_kendall_finds_no_pair_out_of_order() -> None:
    image_angles = np.sort(np.random.default_rng(0).uniform(0, 1.5, size=12))
    circle = np.column_stack([np.cos(image_angles), np.sin(image_angles)])
    half_as_far = np.column_stack([np.cos(image_angles / 2), np.sin(image_angles / 2)])
    pair = paired(circle, half_as_far)
    tau = kendalltau(off_diagonal(pair.image.distances).round(12), off_diagonal(pair.text.distances).round(12))
    assert tau.statistic == pytest.approx(1)
    assert RSA()(pair).value == pytest.approx(1)


def test_cca_agrees_with_scikit_learns_iterative_one_after_the_same_pca() -> None:
    images, captions = related(300)
    reduced = [PCA(3, svd_solver="full").fit_transform(side) for side in (images, captions)]
    variates = cross_decomposition.CCA(3, max_iter=10_000, tol=1e-12).fit_transform(*reduced)
    expected = np.mean([np.corrcoef(a, b)[0, 1] for a, b in zip(variates[0].T, variates[1].T, strict=True)])
    assert CCA(components=3)(paired(images, captions)).value == pytest.approx(expected, abs=1e-6)


def test_cca_is_the_mean_cosine_between_the_principal_subspaces() -> None:
    images, captions = related(100)
    reduced = [PCA(5, svd_solver="full").fit_transform(side) for side in (images, captions)]
    expected = np.cos(subspace_angles(*reduced)).mean()
    result = CCA(components=5)(paired(images, captions))
    assert result.value == pytest.approx(expected, abs=1e-12)
    assert result.details == {"image_components": 5, "text_components": 5}


def test_cca_takes_no_more_components_than_a_side_has() -> None:
    images, captions = related(100)
    flat = np.hstack([images[:, :3], images[:, :3]])
    assert CCA()(paired(flat, captions)).details == {"image_components": 3, "text_components": 9}


def test_cca_takes_a_quarter_of_the_pairs_at_most_so_that_noise_is_not_perfect() -> None:
    random = np.random.default_rng(0)
    result = CCA()(paired(random.normal(size=(41, 60)), random.normal(size=(41, 60))))
    assert result.details == {"image_components": 10, "text_components": 10}
    assert result.value < 0.6


def test_dimensions_that_an_encoder_lacks_count_as_nothing_in_cca() -> None:
    images, captions = related(300)
    narrow = PCA(2, svd_solver="full").fit_transform(images)
    assert CCA()(paired(narrow, captions)).value < CCA()(paired(images, captions)).value
    correlations = np.cos(subspace_angles(narrow, captions - captions.mean(axis=0)))
    assert CCA()(paired(narrow, captions)).value == pytest.approx(correlations.sum() / 9, abs=1e-9)


def test_mutual_nn_counts_shared_neighbours_by_inner_product() -> None:
    images, captions = related(40)
    shares = []
    similarities = [normalize(side) @ normalize(side).T for side in (images, captions)]
    for i in range(40):
        ranked = [[j for j in np.argsort(-row[i]) if j != i][:7] for row in similarities]
        shares.append(len(set(ranked[0]) & set(ranked[1])) / 7)
    assert MutualNN(k=7)(paired(images, captions)).value == pytest.approx(np.mean(shares))


def test_mutual_nn_is_one_for_the_same_space_and_near_chance_for_a_stranger() -> None:
    images, _ = related(400)
    strangers = np.random.default_rng(9).normal(size=(400, 9))
    assert MutualNN()(paired(images, images @ np.diag(np.full(14, 2.0)))).value == 1
    result = MutualNN()(paired(images, strangers))
    assert result.value == pytest.approx(result.details["chance"], abs=0.01)


def test_cka_agrees_with_its_feature_form() -> None:
    images, captions = (side - side.mean(axis=0) for side in related(60))
    cross, own, other = images.T @ captions, images.T @ images, captions.T @ captions
    expected = np.linalg.norm(cross) ** 2 / (np.linalg.norm(own) * np.linalg.norm(other))
    assert CKA()(paired(images + 1, captions + 2)).value == pytest.approx(expected, abs=1e-12)


def test_cka_ignores_rotation_scale_and_offset() -> None:
    images, captions = related(60)
    turn, _ = np.linalg.qr(np.random.default_rng(1).normal(size=(14, 14)))
    moved = 7 * images @ turn + 3
    assert CKA()(paired(moved, captions)).value == pytest.approx(CKA()(paired(images, captions)).value, abs=1e-12)
    assert CKA()(paired(moved, images)).value == pytest.approx(1)


def test_ridge_r2_agrees_with_a_grid_search_by_leave_one_out() -> None:
    images, captions = related(40)
    r2 = []
    for train, test in KFold(5, shuffle=True, random_state=0).split(images):
        mean, spread = images[train].mean(axis=0), images[train].std(axis=0)
        centre = captions[train].mean(axis=0)
        _, _, axes = np.linalg.svd(captions[train] - centre, full_matrices=False)
        targets = (captions - centre) @ axes[:4].T
        features = (images - mean) / spread
        search = GridSearchCV(Ridge(), {"alpha": ALPHAS}, cv=LeaveOneOut(), scoring="neg_mean_squared_error")
        predicted = search.fit(features[train], targets[train]).predict(features[test])
        spread_out = ((targets[test] - targets[test].mean(axis=0)) ** 2).sum()
        r2.append(1 - ((targets[test] - predicted) ** 2).sum() / spread_out)
    assert RidgeR2(components=4)(paired(images, captions)).value == pytest.approx(np.mean(r2), abs=1e-9)


def test_ridge_r2_is_one_for_a_linear_map_and_not_above_zero_for_a_stranger() -> None:
    images, _ = related(200)
    mapped = scale(images) @ np.random.default_rng(2).normal(size=(14, 6))
    assert RidgeR2()(paired(images, mapped)).value == pytest.approx(1, abs=1e-6)
    assert RidgeR2()(paired(images, np.random.default_rng(3).normal(size=(200, 6)))).value < 0.02


def test_a_unit_that_is_dead_but_for_one_picture_does_not_decide_ridge_r2() -> None:
    images, _ = related(200)
    mapped = scale(images) @ np.random.default_rng(2).normal(size=(14, 6))
    train, test = next(KFold(5, shuffle=True, random_state=0).split(images))
    unit = np.zeros((200, 1))
    unit[train[0]], unit[test[0]] = 1e-4, 1
    assert RidgeR2()(paired(np.hstack([images, unit]), mapped)).value > 0.99


def test_gw_is_the_papers_recipe_step_by_step() -> None:
    images, captions = related(30)
    d_x, d_y = angles(images), angles(captions)
    d_x = d_x * np.median(off_diagonal(d_y)) / np.median(off_diagonal(d_x))
    coupling = gromov_wasserstein(d_x, d_y).coupling.dense()
    energy = np.einsum("ikjl,ij,kl->", np.abs(d_x[:, :, None, None] - d_y[None, None]), coupling, coupling)
    result = GW()(paired(images, captions))
    assert result.value == pytest.approx(energy**0.5, rel=1e-6)
    assert result.details["gw_relative"] == pytest.approx((energy / np.median(off_diagonal(d_y))) ** 0.5, rel=1e-6)
    assert result.details["converged"] == "yes"


def test_gw_paired_is_the_energy_of_the_identity_coupling() -> None:
    images, captions = related(12)
    pair = paired(images, captions)
    identity = np.eye(12) / 12
    differences = np.abs(pair.scaled_image_distances[:, :, None, None] - pair.text.distances[None, None])
    energy = np.einsum("ikjl,ij,kl->", differences, identity, identity)
    assert GWPaired()(pair).value == pytest.approx(energy**0.5, rel=1e-12)


def test_gw_scores_of_a_space_with_itself_are_zero() -> None:
    images, _ = related(50)
    shuffled = images[np.random.default_rng(0).permutation(50)]
    assert GWPaired()(paired(images, images)).value == 0
    assert GW()(paired(images, shuffled)).value < 1e-7


def test_parameters_are_the_encoders() -> None:
    assert Parameters()(paired(*related(5))).value == 86_567_656


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_no_result_can_hold_a_number_that_is_not_finite(value: float) -> None:
    with pytest.raises(VlmatchError, match="wanted a finite number"):
        ScoreResult(value)


@pytest.mark.parametrize(
    ("score", "option"), [(MutualNN, "k"), (CCA, "components"), (RidgeR2, "components"), (RidgeR2, "folds")]
)
def test_an_option_out_of_range_is_one_line(score: type, option: str) -> None:
    with pytest.raises(VlmatchError, match=rf"score '.+': {option}=0, wanted at least \d"):
        score(**{option: 0})


@pytest.mark.parametrize("score", [RSA(), CCA(), CKA(), MutualNN(), RidgeR2()])
def test_too_few_pairs_are_one_line_with_both_numbers(score) -> None:
    with pytest.raises(VlmatchError, match=rf"score '{score.title}': 2 pairs, wanted at least \d+"):
        score(paired([[1.0, 0.0], [0.0, 1.0]], [[1.0, 1.0], [0.0, 1.0]]))


def test_rsa_of_equal_distances_is_one_line() -> None:
    with pytest.raises(VlmatchError, match=r"score 'RSA': all image distances are 1\.5708, wanted different distances"):
        RSA()(paired(np.eye(5), np.random.default_rng(0).normal(size=(5, 3))))
