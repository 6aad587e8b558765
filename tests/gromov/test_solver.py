"""The solver against closed forms, exhaustive search, and what must not matter: labels, order, unit, threads."""

import itertools
import math
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from made_spaces import LOSSES, cloud, energy, equidistant, grid, relabelled, weights
from vlmatch.errors import VlmatchError
from vlmatch.gromov import (
    first_lower_bound,
    gromov_wasserstein,
    second_lower_bound,
    third_lower_bound,
)

every_loss = pytest.mark.parametrize("loss", LOSSES)
POWER = {"l1": 1, "l2": 2}
"""Of the unit of the distances, in E."""


def mean_energy_of_permutations(x: np.ndarray, y: np.ndarray, loss: str) -> np.ndarray:
    orders = np.array(list(itertools.permutations(range(len(x)))))
    return LOSSES[loss](x - y[orders[:, :, None], orders[:, None, :]]).mean(axis=(1, 2))


@every_loss
@pytest.mark.parametrize("start", ["product", "identity"])
@pytest.mark.parametrize("seed", range(3))
def test_isometric_spaces_are_recognised_as_the_same(start: str, loss: str, seed: int) -> None:
    x, shuffle = cloud(40, 3, seed), np.random.default_rng(seed).permutation(40)
    if start == "identity":
        shuffle = np.arange(40)
    found = gromov_wasserstein(x, relabelled(x, shuffle), loss=loss, start=start)
    assert (found.energy, found.distance, found.converged) == (0, 0, True)
    assert found.lower_bound == 0
    assert (shuffle[found.coupling.permutation] == np.arange(40)).all()


@every_loss
@pytest.mark.parametrize(
    ("n", "m", "a", "b"), [(2, 2, 1.0, 3.0), (2, 2, 2.0, 0.0), (5, 5, 1.0, 1.5), (5, 5, 0.0, 0.0), (4, 7, 1.0, 2.5)]
)
def test_equidistant_points_have_the_energy_of_the_product_from_there(
    loss: str, n: int, m: int, a: float, b: float
) -> None:
    x_differ, y_differ, of = (n - 1) / n, (m - 1) / m, LOSSES[loss]
    found = gromov_wasserstein(equidistant(n, a), equidistant(m, b), loss=loss)
    one_differs = x_differ * (1 - y_differ) * of(a) + (1 - x_differ) * y_differ * of(b)
    assert found.energy == pytest.approx(x_differ * y_differ * of(a - b) + one_differs, rel=1e-13)
    assert found.iterations == 0
    assert found.converged


@every_loss
@pytest.mark.parametrize(("n", "a", "b"), [(2, 1.0, 3.0), (2, 2.0, 0.0), (3, 1.0, 2.0), (5, 1.0, 1.5)])
def test_from_any_pairing_they_reach_the_lower_bound(loss: str, n: int, a: float, b: float) -> None:
    expected = (n - 1) / n * LOSSES[loss](a - b)
    for start in ("identity", "random", "best", list(range(n))):
        found = gromov_wasserstein(equidistant(n, a), equidistant(n, b), loss=loss, start=start)
        assert found.energy == pytest.approx(expected, rel=1e-13)
        assert found.lower_bound == pytest.approx(found.distance, rel=1e-7)


@every_loss
@pytest.mark.parametrize("start", ["product", "random", "best"])
def test_a_single_point_is_as_far_from_a_space_as_its_mean_distance(start: str, loss: str) -> None:
    y, q = cloud(7, 2, 0), weights(7, 0)
    for first, second, p_and_q in (([[0.0]], y, (None, q)), (y, [[0.0]], (q, None))):
        found = gromov_wasserstein(first, second, *p_and_q, loss=loss, start=start)
        assert found.energy == pytest.approx(q @ LOSSES[loss](y) @ q, rel=1e-12)
        assert (found.converged, found.iterations) == (True, 0)
        assert found.lower_bound == pytest.approx(found.distance, rel=1e-7)


@every_loss
@pytest.mark.parametrize("start", ["product", "identity", "random", "first_lower_bound", "third_lower_bound", "best"])
@pytest.mark.parametrize("n", [1, 2])
def test_one_and_two_points(n: int, start: str, loss: str) -> None:
    x, y = cloud(n, 2, 0), cloud(n, 2, 1)
    found = gromov_wasserstein(x, y, loss=loss, start=start, local_search=True)
    assert found.converged
    expected = energy(x, y, found.coupling.dense(), loss)
    assert found.energy == pytest.approx(expected, rel=1e-13)
    if start not in ("product",):
        assert found.energy == pytest.approx(mean_energy_of_permutations(x, y, loss).min(), rel=1e-13)


@every_loss
def test_duplicates_are_points_as_any_other(loss: str) -> None:
    x = np.repeat(np.repeat(cloud(8, 3, 0), 3, axis=0), 3, axis=1)
    shuffle = np.random.default_rng(0).permutation(24)
    found = gromov_wasserstein(x, relabelled(x, shuffle), loss=loss)
    assert found.converged
    assert found.energy == pytest.approx(0, abs=1e-7)
    all_alike = gromov_wasserstein(np.zeros((5, 5)), np.zeros((4, 4)), loss=loss, start="best")
    assert (all_alike.energy, all_alike.gap, all_alike.converged, all_alike.lower_bound) == (0, 0, True, 0)


@every_loss
@pytest.mark.parametrize("start", ["product", "identity", "best"])
@pytest.mark.parametrize("noise", [1e-15, 1e-9, "float32"])
def test_nearly_equal_spaces_come_to_an_end(noise: float | str, start: str, loss: str) -> None:
    """POT's issue 82; and the same distances in single precision."""
    x = cloud(50, 3, 7)
    y = x.astype(np.float32) if noise == "float32" else x + float(noise) * cloud(50, 3, 8)
    found = gromov_wasserstein(x, y, loss=loss, start=start)
    limit = 3e-7 if noise == "float32" else 10 * float(noise)
    assert found.energy < limit ** POWER[loss]
    assert found.iterations < 20
    assert found.converged


@settings(max_examples=60)
@given(n=st.integers(1, 6), seed=st.integers(0, 10**6), tied=st.booleans(), loss=st.sampled_from(["l1", "l2"]))
def test_the_best_permutation_lies_in_the_interval(n: int, seed: int, tied: bool, loss: str) -> None:
    x, y = (grid(n, 2, seed), cloud(n, 3, seed + 1)) if tied else (cloud(n, 2, seed), cloud(n, 3, seed + 1))
    least = mean_energy_of_permutations(x, y, loss).min()
    for bound in ("first", "second", "third"):
        found = gromov_wasserstein(x, y, loss=loss, start="best", local_search=True, lower_bound=bound)
        assert found.lower_bound <= math.sqrt(least) + 1e-9
        assert found.lower_bound <= found.distance + 1e-9


@every_loss
def test_the_best_start_with_local_search_is_near_the_best_of_all_permutations(loss: str) -> None:
    excess = []
    for seed in range(8):
        x, y = cloud(7, 2, seed), cloud(7, 4, seed + 100)
        found = gromov_wasserstein(x, y, loss=loss, start="best", local_search=True)
        excess.append(found.energy / mean_energy_of_permutations(x, y, loss).min() - 1)
    assert max(excess) < 0.15
    assert np.mean(excess) < 0.02


@every_loss
@pytest.mark.parametrize(("n", "m", "uniform"), [(40, 40, True), (25, 35, True), (30, 30, False)])
def test_either_space_may_come_first(loss: str, n: int, m: int, uniform: bool) -> None:
    x, y = cloud(n, 3, 0), cloud(m, 6, 1)
    p, q = (None, None) if uniform else (weights(n, 0), weights(m, 1))
    found, turned = gromov_wasserstein(x, y, p, q, loss=loss), gromov_wasserstein(y, x, q, p, loss=loss)
    assert turned.energy == pytest.approx(found.energy, rel=1e-3)
    assert turned.lower_bound == pytest.approx(found.lower_bound, rel=1e-9)
    back = gromov_wasserstein(y, x, q, p, loss=loss, start=found.coupling.dense().T, max_iterations=0)
    assert back.energy == pytest.approx(found.energy, rel=1e-12)


@every_loss
@pytest.mark.parametrize("exponent", [-20, -1, 5, 20])
def test_a_unit_that_is_a_power_of_two_changes_no_other_bit(exponent: int, loss: str) -> None:
    x, y, unit = cloud(60, 3, 5), cloud(60, 6, 6), 2.0**exponent
    found, scaled = (gromov_wasserstein(u * x, u * y, loss=loss) for u in (1.0, unit))
    factor = unit ** POWER[loss]
    assert scaled.energies == tuple(factor * one for one in found.energies)
    assert scaled.gap == factor * found.gap
    assert (scaled.coupling.dense() == found.coupling.dense()).all()


@every_loss
@pytest.mark.parametrize("unit", [1e-120, 1e-40, 1e-6, 1e3, 1e40, 1e120])
@pytest.mark.parametrize(("n", "m"), [(40, 40), (20, 14)])
def test_energies_scale_with_the_unit_of_the_distances(n: int, m: int, unit: float, loss: str) -> None:
    x, y = cloud(n, 3, 5), cloud(m, 6, 6)
    found, scaled = (gromov_wasserstein(u * x, u * y, loss=loss) for u in (1.0, unit))
    assert scaled.energy == pytest.approx(unit ** POWER[loss] * found.energy, rel=1e-6)
    assert scaled.distance == pytest.approx(unit ** (POWER[loss] / 2) * found.distance, rel=1e-6)
    assert scaled.lower_bound == pytest.approx(unit ** (POWER[loss] / 2) * found.lower_bound, rel=1e-9)
    assert scaled.converged


@every_loss
@pytest.mark.parametrize("seed", range(3))
def test_relabelling_either_space_leaves_the_energy(loss: str, seed: int) -> None:
    random = np.random.default_rng(seed)
    x, y, p, q = cloud(50, 3, seed), cloud(50, 8, seed + 10), weights(50, seed), weights(50, seed + 1)
    a, b = random.permutation(50), random.permutation(50)
    found = gromov_wasserstein(x, y, loss=loss).energy
    assert gromov_wasserstein(relabelled(x, a), relabelled(y, b), loss=loss).energy == pytest.approx(found, rel=1e-2)
    weighted = gromov_wasserstein(x, y, p, q, loss=loss).energy
    again = gromov_wasserstein(relabelled(x, a), relabelled(y, b), p[a], q[b], loss=loss).energy
    assert again == pytest.approx(weighted, rel=1e-2)


@every_loss
@pytest.mark.parametrize("seed", range(3))
def test_a_point_of_double_weight_is_two_points_in_one_place(loss: str, seed: int) -> None:
    x, y = cloud(20, 3, seed), cloud(16, 6, seed + 100)
    twice, p = np.append(np.arange(20), 3), np.full(20, 1 / 21)
    p[3] = 2 / 21
    doubled = relabelled(x, twice)
    one, two = gromov_wasserstein(x, y, p, loss=loss), gromov_wasserstein(doubled, y, loss=loss)
    assert one.lower_bound == pytest.approx(two.lower_bound, rel=1e-9)
    assert one.energy == pytest.approx(two.energy, rel=1e-2)
    merged = two.coupling.dense()
    merged[3] += merged[20]
    there = gromov_wasserstein(x, y, p, loss=loss, start=merged[:20], max_iterations=0)
    assert there.energy == pytest.approx(two.energy, rel=1e-12)
    assert there.gap == pytest.approx(two.gap, abs=1e-12)


@every_loss
@pytest.mark.parametrize(("n", "m"), [(83, 83), (50, 70)])
def test_the_same_call_gives_the_same_bits_whatever_the_threads(loss: str, n: int, m: int) -> None:
    x, y = cloud(n, 3, 0), cloud(m, 8, 1)
    first, *others = (
        gromov_wasserstein(x, y, loss=loss, start=start, workers=workers)
        for start, workers in (("product", 1), ("product", 1), ("product", 2), ("product", None))
    )
    for other in others:
        assert other.energies == first.energies
        assert (other.gap, other.lower_bound) == (first.gap, first.lower_bound)
        assert (other.coupling.dense() == first.coupling.dense()).all()


def test_inputs_are_left_as_they_were() -> None:
    x, y, p, start = cloud(20, 3, 0), cloud(20, 8, 1), weights(20, 0), np.outer(weights(20, 0), np.full(20, 1 / 20))
    before = [one.copy() for one in (x, y, p, start)]
    gromov_wasserstein(x, y, p, start=start)
    gromov_wasserstein(x, y, start="best", local_search=True)
    assert all((one == copy).all() for one, copy in zip((x, y, p, start), before, strict=True))


@every_loss
def test_the_lower_bound_is_the_root_of_the_one_asked_for(loss: str) -> None:
    x, y = cloud(20, 3, 0), cloud(15, 8, 1)
    for name, bound in (("first", first_lower_bound), ("second", second_lower_bound), ("third", third_lower_bound)):
        found = gromov_wasserstein(x, y, loss=loss, lower_bound=name, max_iterations=0)
        assert found.lower_bound == math.sqrt(bound(x, y, loss=loss))
    assert gromov_wasserstein(x, y, loss=loss, lower_bound=None, max_iterations=0).lower_bound is None


@pytest.mark.parametrize(
    ("options", "user_message"),
    [
        ({"loss": "kl"}, "^loss='kl' is unknown, wanted one of l1, l2$"),
        ({"lower_bound": "fourth"}, "^lower_bound='fourth' is unknown, wanted one of first, second, third$"),
        ({"start": "nowhere"}, "^start='nowhere' is unknown"),
        ({"device": "abacus"}, "^device='abacus' can't be used"),
    ],
)
def test_an_unknown_name_is_one_line_that_says_what_is_known(options: dict, user_message: str) -> None:
    with pytest.raises(VlmatchError, match=user_message) as error:
        gromov_wasserstein(cloud(4, 2, 0), cloud(4, 2, 1), **options)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("option", "user_message"),
    [
        ({"workers": 0}, "workers=0, wanted at least 1"),
        ({"max_iterations": -1}, "max_iterations=-1, wanted 0"),
        ({"tolerance": float("nan")}, "tolerance=nan, wanted a share >= 0"),
    ],
)
def test_options_out_of_range_are_refused_by_name(option: dict[str, Any], user_message: str) -> None:
    with pytest.raises(VlmatchError, match=user_message) as error:
        gromov_wasserstein(np.zeros((3, 3)), np.zeros((3, 3)), **option)
    assert "\n" not in str(error.value)
