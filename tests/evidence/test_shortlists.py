"""Calibrated shortlists: coverage, length and the difference that orders pairs, against enumeration."""

import numpy as np
import pytest
from sklearn.isotonic import IsotonicRegression

from vlmatch.evidence.replay import drawn
from vlmatch.evidence.rules import single
from vlmatch.evidence.shortlists import calibrate, gaps_to_good, least_difference, least_margin
from vlmatch.evidence.worlds import World

PERFECT, FAIR, NOISE = (single(name, name) for name in ("perfect", "fair", "noise"))


def world(n: int = 40, families: int = 10) -> World:
    rng = np.random.default_rng(1)
    quality = rng.normal(size=n)
    values = {"perfect": quality, "fair": quality + 0.5 * rng.normal(size=n), "noise": rng.normal(size=n)}
    return World.of("made", [f"e{i}" for i in range(n)], [f"f{i % families}" for i in range(n)], quality, values)


def test_a_perfect_rule_needs_its_first_alone():
    found = calibrate(world(), PERFECT, "random", 8)
    assert (found.margin, found.length, found.top_k) == (0, 1, 1)
    assert found.coverage == (1, 1, 1)
    assert found.held_out == (1, 1, 1)
    assert found.difference == pytest.approx(1 / 7)  # one rank


@pytest.mark.parametrize("rule", [FAIR, NOISE])
def test_the_margin_is_the_smallest_that_covers_nine_in_ten(rule):
    made = world()
    pools = drawn(made, "random", 8, np.random.default_rng(0))
    found = calibrate(made, rule, "random", 8)
    ranks = made.values[rule.name][pools.pools].argsort(axis=1).argsort(axis=1) / 7
    best = made.mean_truth[pools.pools].argmax(axis=1)
    gaps = 1 - ranks[np.arange(len(ranks)), best]
    lengths = (ranks >= 1 - found.margin - 1e-9).sum(axis=1)
    share, smaller = np.mean(gaps <= found.margin + 1e-9), np.mean(gaps < found.margin - 1e-9)
    assert smaller < 0.9 <= share
    assert found.coverage.value == pytest.approx(share)
    assert found.length == pytest.approx(np.mean(lengths))
    assert found.margin == least_margin(gaps_to_good(pools, rule))


def test_a_better_rule_has_a_shorter_list_and_noise_an_almost_whole_one():
    fair, noise = (calibrate(world(), rule, "random", 8) for rule in (FAIR, NOISE))
    assert fair.length < 4 < 7 <= noise.length
    # Values without ties: a list by margin is a list of the first k.
    assert fair.top_k == pytest.approx(fair.coverage.value, abs=1e-9)


def test_noise_orders_no_pair_and_a_fair_rule_those_far_apart():
    rng = np.random.default_rng(0)
    assert least_difference(drawn(world(400, 100), "random", 8, rng), NOISE) is None
    pools = drawn(world(), "random", 8, rng, 1_000)
    found = least_difference(pools, FAIR)
    distances, right = [], []
    for pool in pools.pools:
        values = FAIR.values({"fair": world().values["fair"][pool]})
        truth = pools.world.mean_truth[pool]
        for i, j in zip(*np.triu_indices(8, 1), strict=True):
            distances.append(abs(values[i] - values[j]))
            right.append(float((values[i] > values[j]) == (truth[i] > truth[j])))
    fitted = IsotonicRegression().fit(distances, right)
    assert fitted.predict([found])[0] >= 0.9
    assert fitted.predict([found - 1 / 7])[0] < 0.9, "one rank less is not enough"
    at_least = np.mean([hit for distance, hit in zip(distances, right, strict=True) if distance >= found - 1e-9])
    assert at_least > 0.9, "pairs that are further apart are right more often"


def test_halves_that_are_too_small_give_no_held_out_coverage():
    found = calibrate(world(12, 3), FAIR, "random", 8)
    assert found.held_out.value is None
    assert calibrate(world(12, 3), FAIR, "random", 12) is None  # one pool is no replay
