"""Scores and standard errors: against simulations, for models that know all or nothing, and as plain values."""

import json
from collections.abc import Callable
from itertools import permutations
from pathlib import Path

import numpy as np
import pytest

from vlmatch.benchmarks.choices import choice
from vlmatch.benchmarks.measurement import ItemCredits, Measurement, standard_error
from vlmatch.benchmarks.suite import CHOICES, BenchmarkSuite
from vlmatch.probes.items import Item

KINDS = ("animals", "flags", "food", "tools")


def drawn(random: np.random.Generator, per_source: int) -> list[Item]:
    """Items of two sources, with random categories."""
    return [
        Item(f"{source}/{i}", Path(), str(i), str(i), source, str(random.choice(KINDS)), "benchmarks")
        for source in ("clipart", "openmoji")
        for i in range(per_source)
    ]


def simulated(suite: BenchmarkSuite, random: np.random.Generator, per_source: int) -> Measurement:
    """The measurement of a simulated model that sees some pictures better, one source worse, and hardly any flag."""
    items = drawn(random, per_source)
    n = len(items)
    skill = random.exponential(2.0, n) * np.array([0.5 if item.source == "clipart" else 1.5 for item in items])
    skill *= np.array([0.2 if item.category == "flags" else 1.0 for item in items])
    captions = random.normal(size=(n, n)) + 4 * random.normal(size=n) + np.diag(skill)
    kinds = np.array([KINDS.index(str(item.category)) for item in items])
    category = random.normal(size=(n, 4)) + [1, 0, 2, 0] + skill[:, None] * np.eye(4)[kinds]
    return suite.scored(items, suite.plan(items, KINDS), captions, random.integers(1, 6, n), category)


def test_standard_errors_are_those_of_repeated_draws(make_suite: Callable[..., BenchmarkSuite]) -> None:
    suite = make_suite(group=8, hard_group=4)
    random = np.random.default_rng(0)
    runs = [simulated(suite, random, 64).to_json() for _ in range(120)]
    covered = []
    for part in (
        *[[run["benchmarks"][name] for run in runs] for name in (*CHOICES, "caption_gain")],
        *[[run["groups"][name] for run in runs] for name in suite.groups],
        [run["mean"] for run in runs],
    ):
        scores = np.array([found["score"] for found in part])
        errors = np.array([found["standard_error"] for found in part])
        # Categories as strata of the hard choice would be closer to 1; as it is, its error is 10 to 15% too large.
        assert 0.85 < np.sqrt((errors**2).mean()) / scores.std() < 1.3
        covered.append((np.abs(scores - scores.mean()) < 1.96 * errors).mean())
    assert min(covered) > 0.86  # of 120 draws, two standard errors below .93, which 16 groups give
    assert 0.92 < np.mean(covered) < 0.98


def test_items_of_a_group_count_as_one_if_they_agree() -> None:
    credit = np.repeat([0.0, 1.0, 1.0, 0.0, 1.0, 1.0], 4)
    names = np.full(24, "clipart")
    credits = ItemCredits(
        np.arange(24), credit, credit, np.repeat(np.arange(6), 4), sources=names, strata=names, chance=0.25
    )
    means = np.array([0, 1, 1, 0, 1, 1])
    assert standard_error([(1.0, credits)]) == pytest.approx(means.std(ddof=1) / np.sqrt(6))
    assert standard_error([(1.0, credits), (1.0, credits)]) == pytest.approx(2 * means.std(ddof=1) / np.sqrt(6))


def test_sources_of_fixed_size_are_strata() -> None:
    credit = np.array([0.0, 0.0, 1.0, 0.0, 1.0, 1.0, 1.0, 1.0, 0.0, 1.0])
    names = np.array(["a"] * 4 + ["b"] * 6)
    credits = ItemCredits(np.arange(10), credit, credit, np.arange(10), sources=names, strata=names, chance=0.0)
    variance = 0.16 * credit[:4].var(ddof=1) / 4 + 0.36 * credit[4:].var(ddof=1) / 6
    assert standard_error([(1.0, credits)]) == pytest.approx(np.sqrt(variance))
    assert credits.by_source()["b"].score == pytest.approx(5 / 6)


def test_a_balanced_score_has_its_exact_chance_over_all_assignments() -> None:
    likelihoods = np.random.default_rng(0).normal(size=(7, 3)) + np.array([9, 0, -9])
    credit, kinds = choice(likelihoods), np.array([0, 0, 0, 0, 1, 1, 2])
    names = np.full(7, "clipart")

    def score(order: tuple[int, ...], *, balanced: bool) -> float:
        own = credit[list(order), kinds]
        found = ItemCredits(
            np.arange(7), own, own, np.arange(7), names, kinds.astype(str), chance=1 / 3, balanced=balanced
        )
        return found.score

    every = list(permutations(range(7)))
    assert np.mean([score(order, balanced=True) for order in every]) == pytest.approx(1 / 3, abs=1e-12)
    assert abs(np.mean([score(order, balanced=False) for order in every]) - 1 / 3) > 0.01


@pytest.mark.parametrize(("signal", "score"), [(100.0, 1.0), (0.0, 0.0)])
def test_a_model_that_sees_all_scores_one_and_a_blind_one_zero(
    make_suite: Callable[..., BenchmarkSuite], signal: float, score: float
) -> None:
    random = np.random.default_rng(0)
    suite, items = make_suite(), drawn(random, 16)
    kinds = np.array([KINDS.index(str(item.category)) for item in items])
    captions = random.normal(size=32) + signal * np.eye(32)
    category = random.normal(size=4) + signal * np.eye(4)[kinds]
    found = suite.scored(items, suite.plan(items, KINDS), captions, np.ones(32), category).to_json()
    assert found["mean"] == {"score": pytest.approx(score, abs=1e-9), "standard_error": pytest.approx(0, abs=1e-9)}
    for name in CHOICES:
        measured = found["benchmarks"][name]
        assert measured["score"] == pytest.approx(measured["chance"] if signal == 0 else 1)
        assert measured["shuffled"] == pytest.approx(measured["chance"]) if signal == 0 else measured["shuffled"] < 0.5
    assert found["benchmarks"]["caption_gain"]["score"] == pytest.approx(signal)


def test_shuffled_pictures_of_the_group_fall_below_chance(make_suite: Callable[..., BenchmarkSuite]) -> None:
    random = np.random.default_rng(1)
    suite, items = make_suite(), drawn(random, 16)
    category = random.normal(size=(32, 4))
    found = suite.scored(items, suite.plan(items, KINDS), 9 * np.eye(32), np.ones(32), category).to_json()
    for name in ("caption_choice", "caption_choice_hard", "retrieval"):
        assert found["benchmarks"][name]["shuffled"] == 0
    assert found["benchmarks"]["caption_gain"]["shuffled"] == pytest.approx(-9 / 3)


def test_plain_values_have_all_parts(make_suite: Callable[..., BenchmarkSuite]) -> None:
    suite = make_suite()
    measured = simulated(suite, np.random.default_rng(0), 16)
    found = measured.to_json()
    assert json.loads(json.dumps(found)) == found
    assert found["suite"] == {"name": "tiny", "version": 3, "items": 32}
    assert set(found["benchmarks"]) == {*CHOICES, "caption_gain"}
    for benchmark in found["benchmarks"].values():
        assert list(benchmark) == ["score", "standard_error", "chance", "shuffled", "n", "by_source"]
        assert sum(part["n"] for part in benchmark["by_source"].values()) <= benchmark["n"] <= 32
        assert set(benchmark["by_source"]) == {"clipart", "openmoji"}
    scores = {name: (b["score"] - b["chance"]) / (1 - b["chance"]) for name, b in found["benchmarks"].items()}
    naming = (scores["caption_choice"] + scores["retrieval"]) / 2
    assert found["groups"]["naming"]["score"] == pytest.approx(naming)
    assert found["groups"]["naming"]["of"] == ["caption_choice", "retrieval"]
    mean = (naming + scores["caption_choice_hard"] + scores["category"]) / 3
    assert found["mean"]["score"] == measured.mean.score == pytest.approx(mean)
