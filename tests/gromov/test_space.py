"""Spaces: what is derived from the distances, what is taken as distances, and what is refused in one line."""

import numpy as np
import pytest
import torch

from made_spaces import cloud, weights
from vlmatch.errors import VlmatchError
from vlmatch.gromov import gromov_wasserstein
from vlmatch.gromov.space import Space


@pytest.mark.parametrize("p", [None, weights(9, 0)])
def test_what_is_derived_follows_its_definition(p: np.ndarray | None) -> None:
    x = cloud(9, 3, 0)
    space, expected = Space.of(x, p), np.full(9, 1 / 9) if p is None else p
    assert len(space) == 9
    assert space.weights == pytest.approx(expected, rel=1e-14)
    assert space.eccentricities == pytest.approx((x * expected).sum(axis=1), rel=1e-13)
    assert space.mean_squares == pytest.approx((x**2 * expected).sum(axis=1), rel=1e-13)
    assert (np.diff(space.eccentricities[space.order]) >= 0).all()
    assert space.diameter == x.max()
    assert space.uniform == (p is None)
    assert space.single.dtype == np.float32


def test_points_of_equal_eccentricity_stay_in_their_order() -> None:
    assert (Space.of(1 - np.eye(5)).order == np.arange(5)).all()


@pytest.mark.parametrize("n", [3, 6, 7, 10, 49, 98, 200])
def test_equal_weights_are_the_default_ones_however_they_are_given(n: int) -> None:
    x, expected = cloud(n, 2, 0), Space.of(cloud(n, 2, 0)).weights
    for given in (np.full(n, 1 / n), [1 / n] * n, torch.ones(n, dtype=torch.float64) / n, np.full(n, 1 / n + 1e-12)):
        space = Space.of(x, given)
        assert space.uniform
        assert (space.weights == expected).all(), "or the identity is refused as a start"


@pytest.mark.parametrize("n", [1, 2, 5])
def test_arrays_lists_and_tensors_of_any_precision_and_order_are_distances(n: int) -> None:
    x = np.round(cloud(n, 2, 0), 3)
    frozen = x.copy()
    frozen.flags.writeable = False
    for given in (
        x,
        x.tolist(),
        np.asfortranarray(x),
        frozen,
        torch.from_numpy(x),
        torch.from_numpy(x).requires_grad_(),
    ):
        assert (Space.of(given).distances == x).all()
    for given in (x.astype(np.float32), torch.from_numpy(x).float(), torch.from_numpy(x).bfloat16()):
        space = Space.of(given)
        assert space.distances.dtype == np.float64
        assert space.distances == pytest.approx(x, rel=1e-2)
    assert (Space.of((1 - np.eye(n)).astype(int)).distances == 1 - np.eye(n)).all()


def test_a_space_is_taken_as_it_is_and_has_weights_of_its_own() -> None:
    space = Space.of(cloud(4, 2, 0), weights(4, 0))
    assert Space.of(space) is space
    with pytest.raises(VlmatchError, match=r"^D_x is a Space, which has weights of its own"):
        gromov_wasserstein(space, space, weights(4, 0))


def test_the_triangle_inequality_is_not_asked_for_and_rounding_is_no_asymmetry() -> None:
    x = np.array([[0, 1, 9], [1, 0, 1], [9, 1, 0.0]])
    assert (Space.of(x).distances == x).all()
    x[0, 2] *= 1 + 1e-7
    assert Space.of(x).distances[0, 2] != x[2, 0]


def changed(value: float, *where: tuple[int, int]) -> np.ndarray:
    matrix = cloud(4, 2, 0)
    for place in where:
        matrix[place] = value
    return matrix


BOTH_WAYS = (0, 1), (1, 0)


@pytest.mark.parametrize(
    ("matrix", "user_message"),
    [
        (np.zeros((4, 3)), r"has shape \(4, 3\), wanted n x n"),
        (np.zeros((0, 0)), r"has shape \(0, 0\)"),
        (np.zeros(4), r"has shape \(4,\)"),
        (np.zeros((2, 2, 2)), r"has shape \(2, 2, 2\)"),
        (0.0, r"has shape"),
        (changed(np.nan, *BOTH_WAYS), "holds NaN or infinity"),
        (changed(np.inf, *BOTH_WAYS), "holds NaN or infinity"),
        (changed(np.nan, (2, 2)), "holds NaN or infinity"),
        (changed(-1.0, *BOTH_WAYS), "holds -1, wanted distances >= 0"),
        (changed(1e300, *BOTH_WAYS), r"holds 1e\+300, wanted a largest distance of 1e-130 ... 1e130"),
        (1e-300 * cloud(4, 2, 0), "holds 1.93e-300, wanted a largest distance"),
        (changed(9.0, (0, 1)), "is not symmetric"),
        (changed(0.5, (2, 2)), "has 0.5 on its diagonal"),
        (torch.tensor([[0.0, torch.nan], [torch.nan, 0.0]]), "holds NaN or infinity"),
        ([[0.0, 1.0], [1.0]], "can't be turned into an array .*; give numbers, in rows of equal length"),
        ([["no", "numbers"]] * 2, "can't be turned into an array"),
    ],
)
def test_matrices_that_are_no_distances_are_refused_by_name(matrix: object, user_message: str) -> None:
    fine = cloud(4, 2, 0)
    for name, given in (("D_x", (matrix, fine)), ("D_y", (fine, matrix))):
        with pytest.raises(VlmatchError, match=f"^{name} {user_message}") as error:
            gromov_wasserstein(*given)
        assert "\n" not in str(error.value)


def test_an_asymmetry_is_found_wherever_it_is() -> None:
    matrix = cloud(300, 2, 0)
    for i, k in ((0, 299), (299, 298), (255, 256), (256, 3)):
        wrong = matrix.copy()
        wrong[i, k] += 0.01
        with pytest.raises(VlmatchError, match=r"^D is not symmetric \(by 0.01\)"):
            Space.of(wrong)


@pytest.mark.parametrize(
    ("given", "user_message"),
    [
        ([0.5, 0.5], r"have shape \(2,\), wanted \(4,\): one for each point"),
        (np.full((4, 1), 0.25), r"have shape \(4, 1\)"),
        (0.25, r"have shape"),
        ([0.5, 0.5, 0, 0], "hold 0, wanted positive ones"),
        ([1.5, 0.5, -0.5, -0.5], "hold -0.5, wanted positive ones"),
        ([np.nan, 0.5, 0.25, 0.25], "hold nan, wanted positive ones"),
        ([1, 1, 1, 1], "sum to 4, wanted 1; divide by their sum"),
        ([0.25, 0.25, 0.25, 0.2501], "sum to 1.0001"),
    ],
)
def test_weights_that_do_not_fit_are_refused_by_name(given: object, user_message: str) -> None:
    x = cloud(4, 2, 0)
    for name, both in (("D_x", (given, None)), ("D_y", (None, given))):
        with pytest.raises(VlmatchError, match=f"^the weights of {name} {user_message}") as error:
            gromov_wasserstein(x, x, *both)
        assert "\n" not in str(error.value)
