"""The details of GW: theorem 1's bound and the measured Lipschitz constant, both for 99% of the pairs."""

import math

import numpy as np
import pytest

from vlmatch.geometry import PairedGeometry
from vlmatch.gromov import gromov_wasserstein
from vlmatch.scores.gw import GW, GWIdentity


def pair_of(images: np.ndarray, captions: np.ndarray) -> PairedGeometry:
    return PairedGeometry.angular(images, captions)


def test_they_are_those_of_the_solvers_coupling(random: np.random.Generator) -> None:
    pair = pair_of(random.normal(size=(60, 5)), random.normal(size=(60, 7)))
    x, y = pair.scaled_image_distances, pair.text.distances
    sigma = gromov_wasserstein(x, y).coupling.rounded()
    upper = np.triu_indices(60, 1)
    before, after = x[upper], y[np.ix_(sigma, sigma)][upper]
    dropped = int(0.005 * len(before))
    details = GW()(pair).details
    ratios, distortions = np.sort(after / before), np.sort(abs(after - before))
    assert details["lipschitz_99"] == pytest.approx(ratios[-1 - 2 * dropped])
    assert details["lipschitz_bound_99"] == pytest.approx(1 + distortions[-1 - dropped] / np.sort(before)[dropped])
    assert details["lipschitz_99"] <= details["lipschitz_bound_99"]


def test_equal_spaces_are_not_stretched(random: np.random.Generator) -> None:
    points = random.normal(size=(40, 5))
    details = GWIdentity()(pair_of(points, points)).details
    assert details["lipschitz_bound_99"] == details["lipschitz_99"] == 1


def test_images_that_coincide_make_them_infinite(random: np.random.Generator) -> None:
    images = np.repeat(random.normal(size=(10, 5)), 6, axis=0)
    result = GW()(pair_of(images, random.normal(size=(60, 7))))
    assert math.isfinite(result.value)
    assert result.details["lipschitz_bound_99"] == result.details["lipschitz_99"] == math.inf
