"""Replay of pools: pools of each kind, regret and hits against enumeration, halves of seeds, bootstrap."""

from itertools import combinations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from vlmatch.errors import VlmatchError
from vlmatch.evidence.choosing import choose
from vlmatch.evidence.pools import KINDS, draw_pools, family_draws, family_weights, halved_families
from vlmatch.evidence.replay import difference, rank_correlation, replay, trained_once
from vlmatch.evidence.rules import CANDIDATES, Ingredient, Rule, joined, single
from vlmatch.evidence.worlds import World

PERFECT, NOISE = single("perfect", "perfect"), single("noise", "noise")


def world(n: int = 24, families: int = 6, seeds: int = 2, noise: float = 0.1, seed: int = 0) -> World:
    rng = np.random.default_rng(seed)
    quality = rng.normal(size=n)
    return World.of(
        "made",
        [f"encoder{i}" for i in range(n)],
        [f"family{i % families}" for i in range(n)],
        quality[:, None] + noise * rng.normal(size=(n, seeds)),
        {
            "perfect": quality,
            "noise": rng.normal(size=n),
            "constant": np.ones(n),
            "language_supervised": np.arange(n) % 2,
            "tokens": np.where(np.arange(n) < n // 2, 49, 196),
            "width": rng.integers(1, 9, size=n),
            "ridge_r2": quality + 0.3 * rng.normal(size=n),
            "mutual_nn": quality + rng.normal(size=n),
        },
    )


@pytest.mark.parametrize("kind", KINDS)
def test_a_pool_has_different_candidates_of_its_kind(kind):
    made = world()
    pools = draw_pools(made, kind, 5, 200, np.random.default_rng(0))
    assert pools.shape == (200, 5)
    for pool in pools:
        assert len(set(pool)) == 5
        if kind == "families":
            assert len({made.families[i] for i in pool}) == 5
        if kind == "language":
            assert all(made.values["language_supervised"][pool] == 1)
        if kind == "tokens":
            assert len(set(made.values["tokens"][pool])) == 1


def test_every_candidate_is_drawn_about_as_often():
    pools = draw_pools(world(), "random", 5, 20_000, np.random.default_rng(0))
    counts = np.bincount(pools.ravel(), minlength=24) / 20_000
    assert counts == pytest.approx(5 / 24, abs=0.02)


def test_a_family_of_weight_zero_is_never_drawn():
    made = world()
    for kind in KINDS:
        pools = draw_pools(made, kind, 3, 300, np.random.default_rng(0), np.array([0, 1, 2, 1, 1, 1.0]))
        assert "family0" not in {made.families[i] for i in pools.ravel()}


def test_a_world_that_is_too_small_has_no_pools():
    assert draw_pools(world(), "families", 7, 10, np.random.default_rng(0)) is None
    assert draw_pools(world(), "language", 13, 10, np.random.default_rng(0)) is None
    assert replay(world(), [PERFECT], "families", 7) == []


def test_halves_of_the_families_are_apart_and_large_enough():
    made, rng = world(families=5), np.random.default_rng(0)
    one, other = halved_families(made, 8, rng)
    assert (one + other == 1).all()
    assert min(one[made.family_numbers].sum(), other[made.family_numbers].sum()) >= 8
    assert halved_families(made, 13, rng) is None
    assert family_weights(5, rng).sum() == 5


@pytest.mark.parametrize("n_families", [1, 2, 5, 30])
def test_families_are_drawn_with_all_their_candidates_by_the_generators_next_numbers(n_families: int) -> None:
    families = np.random.default_rng(1).permutation(np.arange(40) % n_families).astype(str)
    members = [np.flatnonzero(families == name) for name in sorted(set(families))]
    rng = np.random.default_rng(7)
    for found in family_draws(families, 20, np.random.default_rng(7)):
        chosen = rng.integers(n_families, size=n_families)
        assert found.tolist() == sorted(candidate for number in chosen for candidate in members[number])


def test_regret_and_hits_are_those_of_all_pools_enumerated():
    made = world(n=10, seeds=1, families=5)
    truth, noise = made.mean_truth, made.values["noise"]
    pools = [list(pool) for pool in combinations(range(10), 5)]
    lost = [max(truth[p]) - truth[p][np.argmax(noise[p])] for p in pools]
    at_random = [max(truth[p]) - truth[p].mean() for p in pools]
    held = [np.argmax(truth[p]) in np.argsort(-noise[p])[:3] for p in pools]
    by_name = {outcome.rule: outcome for outcome in replay(made, [NOISE, PERFECT], "random", 5)}
    assert by_name["noise"].regret.value == pytest.approx(np.mean(lost), abs=0.05)
    assert by_name["noise"].fraction.value == pytest.approx(np.mean(lost) / np.mean(at_random), abs=0.05)
    assert by_name["noise"].first_three.value == pytest.approx(np.mean(held), abs=0.03)
    assert by_name["random"].fraction.value == pytest.approx(1)
    assert by_name["random"].first_three.value == pytest.approx(3 / 5)


def test_a_rule_that_is_the_truth_loses_nothing():
    made = world(noise=0, seeds=1)
    found = replay(made, [PERFECT], "random", 6)[1]
    assert found.regret == (0, 0, 0)
    assert found.first_three == (1, 1, 1)
    assert rank_correlation(made, PERFECT).value == pytest.approx(1)


def test_the_sign_of_an_ingredient_turns_the_rule_round():
    made = world(noise=0, seeds=1)
    turned = Rule("turned", "turned", (Ingredient("perfect", higher_is_better=False),))
    assert rank_correlation(made, turned).value == pytest.approx(-1)
    assert replay(made, [turned], "random", 6)[1].fraction.value > 1.2


def test_a_rule_of_equal_values_is_a_pick_at_random():
    found = replay(world(), [single("constant", "constant")], "random", 6)[1]
    assert found.fraction.value == pytest.approx(1, abs=0.06)
    assert rank_correlation(world(), single("constant", "constant")).value is None


def test_the_best_is_chosen_on_one_half_of_the_seeds_and_valued_on_the_other():
    # Truths that are all luck: the best by one seed has the mean truth on the other, so nothing can be lost.
    rng = np.random.default_rng(0)
    n = 200
    names = [str(i) for i in range(n)]
    made = World.of("luck", names, names, rng.normal(size=(n, 2)), {"x": rng.normal(size=n)})
    found = replay(made, [single("x", "x")], "random", 8)
    assert abs(found[0].regret.value) < 0.2
    assert trained_once(made, "random", 8).value == pytest.approx(1, abs=0.1)


def test_training_once_is_unknown_for_one_seed_and_free_without_noise():
    assert trained_once(world(seeds=1), "random", 6).value is None
    assert trained_once(world(noise=0), "random", 6).value == pytest.approx(0)


def test_the_same_seed_gives_the_same_figures():
    assert replay(world(), CANDIDATES, "random", 6) == replay(world(), CANDIDATES, "random", 6)


def test_siblings_that_are_alike_make_the_interval_wider():
    rng = np.random.default_rng(0)
    family = np.repeat(np.arange(12), 4)
    truth, guess = rng.normal(size=12)[family], rng.normal(size=12)[family]
    names = [str(i) for i in range(48)]
    alike, apart = (
        replay(World.of("alike", names, families, truth, {"x": guess}), [single("x", "x")], "random", 5)[1].fraction
        for families in ([str(each) for each in family], names)
    )
    assert apart.low < apart.value < apart.high
    assert alike.high - alike.low > 1.3 * (apart.high - apart.low)


def test_a_difference_is_that_of_the_two_fractions():
    made = world()
    fractions = {each.rule: each.fraction.value for each in replay(made, [PERFECT, NOISE], "random", 6)}
    found = difference(made, PERFECT, NOISE, "random", 6)
    assert difference(made, NOISE, PERFECT, "random", 6).value == pytest.approx(-found.value)
    assert found.value == pytest.approx(fractions["noise"] - fractions["perfect"], abs=0.03)
    assert found.low > 0


def test_choosing_takes_the_rule_that_is_better_on_both_halves():
    made = world(n=40, families=10)
    found = choose(made, [NOISE, PERFECT], 6)
    assert found.chosen["perfect"] > 0.95 * found.splits
    assert found.fraction.value == pytest.approx(found.by_rule["perfect"].value, abs=0.05)
    assert found.above_first["perfect"].high < 0


def test_choosing_needs_two_halves():
    assert choose(world(families=1), [PERFECT, NOISE], 6) is None


@given(st.lists(st.integers(0, 4), min_size=2, max_size=12))
def test_values_of_a_rule_are_between_0_and_1_and_keep_the_order(values):
    rule = joined("twice", "twice", [single("a", "a"), single("b", "b", False)])
    found = rule.values({"a": values, "b": np.negative(values)})
    assert found.min() >= 0
    assert found.max() <= 1
    for (x, a), (y, b) in combinations(list(zip(values, found, strict=True)), 2):
        assert (x < y) == (a < b)
        assert (x == y) == (a == b)


def test_ties_share_the_mean_rank():
    assert single("a", "a").values({"a": [3, 1, 3, 2]}) == pytest.approx([5 / 6, 0, 5 / 6, 1 / 3])
    assert single("a", "a").values({"a": [7]}) == [1]


@pytest.mark.parametrize(
    ("pool", "message"), [({"b": [1, 2]}, "the pool has b"), ({"a": [1, np.nan]}, "a of 1 candidates is missing")]
)
def test_a_rule_names_the_ingredient_that_is_missing(pool, message):
    with pytest.raises(VlmatchError, match=message):
        single("a", "a").values(pool)


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"names": ["a", "a", "c", "d"]}, "two rows of candidate 'a'"),
        ({"truth": [1, 2, np.nan, 4]}, "truth of candidate 'c' is missing"),
        ({"values": {"x": [1, 2, 3]}}, r"x has shape \(3,\)"),
        ({"values": {"x": [1, 2, 3, np.inf]}}, "x of candidate 'd'"),
        ({"families": ["a"]}, "families has shape"),
        ({"names": ["a"]}, "1 candidates; wanted at least 4"),
        ({"truth": ["good", "bad", "?", "1"]}, "truth is not an array of numbers"),
        ({"truth": [[1, 2], [3], [4, 5], [6, 7]]}, "truth is not an array of numbers"),
        ({"truth": [1, None, 3, 4]}, "truth of candidate 'b' is missing"),
        ({"values": {"x": 5}}, r"x has shape \(\)"),
        ({"standard_error": -1.0}, "standard_error=-1.0; wanted 0 or more"),
        ({"standard_error": np.nan}, "standard_error=nan; wanted 0 or more"),
    ],
)
def test_a_world_refuses_figures_that_can_not_be_replayed(changed, message):
    given = {"names": list("abcd"), "families": list("abcd"), "truth": [1, 2, 3, 4], "values": {"x": [1, 2, 3, 4]}}
    with pytest.raises(VlmatchError, match=message):
        World.of("made", **(given | changed))


def test_a_world_without_some_candidates_keeps_the_rest():
    made = world()
    found = made.without(["encoder0", "encoder5"], "less")
    assert len(found) == 22
    assert found.standard_error == made.standard_error
    assert (found.values["noise"] == np.delete(made.values["noise"], [0, 5])).all()
    with pytest.raises(VlmatchError, match="no candidate 'other'"):
        made.without(["other"], "less")


def test_the_standard_error_is_that_of_a_difference_of_means_over_seeds():
    made = world(n=2000, families=10, seeds=4, noise=0.3)
    assert made.standard_error == pytest.approx(0.3 * (2 / 4) ** 0.5, rel=0.05)
    assert world(seeds=1).standard_error == 0
