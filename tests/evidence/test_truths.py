"""Truths: means over seeds within one setting, their errors, and what seeds alone do."""

import math
from dataclasses import replace

import numpy as np
import pytest
from scipy import stats

from made_results import SOURCES, result
from vlmatch.errors import VlmatchError
from vlmatch.evidence.seeds import agreements, spread
from vlmatch.evidence.truths import comparisons
from vlmatch.results import Estimate, Milestone, RecipeId, SuiteId, Visual


def only(runs):
    (comparison,) = comparisons(runs)
    return comparison


@pytest.mark.parametrize(
    "other",
    [
        {"llm": "other"},
        {"data": "vlm_b"},
        {"split": "6" * 64},
        {"recipe": RecipeId("embedded", 2, "f" * 64)},
        {"recipe": RecipeId("embedded", 1, "e" * 64)},
        {"suite": SuiteId("embedded", 2, 420)},
    ],
)
def test_runs_of_other_settings_never_mix(other: dict) -> None:
    found = comparisons([result("a", 0.3), result("a", 0.5, seed=1, **other)])
    assert sorted(truth.mean for comparison in found for truth in comparison.truths) == [0.3, 0.5]
    assert len(found) == 2


def test_a_truth_is_the_mean_over_seeds_and_its_error_that_of_items_and_seeds() -> None:
    means = [0.30, 0.33, 0.36]
    (truth,) = only([result("a", mean, seed) for seed, mean in reversed(list(enumerate(means)))]).truths
    assert [run.seed for run in truth.runs] == [0, 1, 2]
    assert truth.mean == pytest.approx(np.mean(means))
    assert truth.deviation == pytest.approx(np.std(means, ddof=1))
    assert truth.standard_error == pytest.approx(np.hypot(0.017, stats.sem(means)))


def test_one_seed_has_no_deviation_and_the_error_of_its_items() -> None:
    (truth,) = only([result("a", 0.3)]).truths
    assert truth.deviation is None
    assert truth.standard_error == pytest.approx(0.017)


def test_the_best_stands_first_and_equal_ones_by_name() -> None:
    comparison = only([result("b", 0.3), result("c", 0.4), result("a", 0.3)])
    assert [truth.encoder for truth in comparison.truths] == ["c", "a", "b"]


def test_groups_benchmarks_sources_and_course_are_means_over_seeds() -> None:
    comparison = only([result("a", 0.30), result("a", 0.40, 1)])
    (truth,) = comparison.truths
    assert comparison.groups == ("captions", "categories")
    assert truth.group("captions").score == pytest.approx(0.40)
    assert truth.group("captions").standard_error == pytest.approx(0.02)
    assert truth.benchmark("category").score == pytest.approx(1 / 13 + 12 / 13 * 0.30)
    assert comparison.group_of("category") == "categories"
    assert comparison.group_of("caption gain") is None
    assert comparison.sources == tuple(SOURCES)
    # the fixture's sources average to the whole over items, and each is apart by the same amount of every benchmark
    assert truth.source("clipart") - truth.mean == pytest.approx(np.mean([0.02 / 0.75, 0.02 / (12 / 13)]))
    weighted = sum(n * truth.source(name) for name, n in SOURCES.items()) / sum(SOURCES.values())
    assert weighted == pytest.approx(truth.mean)
    assert truth.source("stamps") is None
    assert [step for step, _ in truth.learning_curve] == [25, 50, 100, 200]
    assert truth.learning_curve[-1][1] == pytest.approx(truth.mean)
    assert comparison.steps == 200


def test_seeds_measured_at_different_steps_have_no_common_course() -> None:
    other = result("a", 0.4, 1, milestones=(Milestone(400, 0.1, 0.4),), steps=400)
    comparison = only([result("a", 0.3), other])
    assert comparison.truths[0].learning_curve == ()
    assert comparison.steps is None


def test_standard_errors_above_blind_and_random() -> None:
    comparison = only(
        [result("a", 0.3), result("blind", 0.0, control=True), result("random_resnet18", 0.1, control=True)]
    )
    (truth, *_) = comparison.truths
    assert truth.errors_above(comparison.blind) == pytest.approx(0.3 / (0.017 * 2**0.5))
    assert truth.errors_above(comparison.random) == pytest.approx(0.2 / (0.017 * 2**0.5))
    assert only([result("a", 0.3)]).blind is None


def test_without_any_error_a_difference_is_beyond_all_errors() -> None:
    exact = [
        replace(result(name, mean), mean=Estimate(mean, 0.0)) for name, mean in (("a", 0.1), ("b", 0.0), ("c", 0.0))
    ]
    (comparison,) = comparisons(exact)
    a, b, c = comparison.truths
    assert (a.errors_above(b), b.errors_above(a), b.errors_above(c)) == (math.inf, -math.inf, 0)


def test_types_of_number_are_counted_by_runs() -> None:
    runs = [result("a", 0.1, seed, dtype="bfloat16") for seed in (0, 1)]
    (comparison,) = comparisons([*runs, result("b", 0.2, dtype="float32"), result("c", 0.3)])
    assert comparison.dtypes == {"bfloat16": 2, "unknown": 1, "float32": 1}
    assert comparison.precisions == {}, "none states it"


def test_precisions_are_counted_by_runs_if_one_states_it() -> None:
    runs = [result("a", 0.1, seed, precision="bf16-mixed") for seed in (0, 1)]
    (comparison,) = comparisons([*runs, result("b", 0.2, precision="32-true"), result("c", 0.3)])
    assert comparison.precisions == {"bf16-mixed": 2, "32-true": 1, "unknown": 1}


def test_seeds_of_other_weights_are_refused() -> None:
    other = result("a", 0.4, 1, visual=Visual("global average", 1280, 2, "0" * 64))
    with pytest.raises(VlmatchError, match=r"a-0\.json' and '.*a-1\.json' .* differ in visual"):
        comparisons([result("a", 0.3), other])


def test_other_benchmarks_under_the_same_version_are_refused() -> None:
    one, other = result("a", 0.3), result("b", 0.3)
    fewer = replace(other, benchmarks={**other.benchmarks, "category": replace(one.benchmarks["category"], n=7)})
    with pytest.raises(VlmatchError, match="differ in benchmarks"):
        comparisons([one, fewer])


def seeded(random: np.random.Generator):
    """Eight pretrained encoders, two seeds each, and a control whose seeds differ wildly."""
    means = np.linspace(0.2, 0.48, 8)[:, None] + random.normal(0, 0.03, (8, 2))
    runs = [result(f"e{place}", float(mean), seed) for place, row in enumerate(means) for seed, mean in enumerate(row)]
    return means, [*runs, *(result("pixels16", 0.1 + seed, seed, control=True) for seed in (0, 1))]


def test_agreement_of_seeds_is_scipys_over_pretrained_encoders_and_their_better_half(
    random: np.random.Generator,
) -> None:
    means, runs = seeded(random)
    (found,) = agreements(only([*runs, result("of one seed", 0.9)]))
    assert (found.seeds, found.n) == ((0, 1), 8)
    assert found.spearman == pytest.approx(stats.spearmanr(*means.T).statistic)
    best = np.argsort(-means.mean(1))[:4]  # the fifth place of nine goes to the encoder of one seed
    assert found.n_best == 4
    assert found.spearman_best == pytest.approx(stats.spearmanr(*means[best].T).statistic)


def test_three_seeds_agree_in_pairs_and_few_encoders_not_at_all() -> None:
    found = agreements(only([result("a", 0.3 + seed / 10, seed) for seed in (0, 1, 2)]))
    assert [each.seeds for each in found] == [(0, 1), (0, 2), (1, 2)]
    assert [each.spearman for each in found] == [None] * 3


def test_spread_is_the_deviation_of_means_and_the_pooled_one_of_seeds(random: np.random.Generator) -> None:
    means, runs = seeded(random)
    found = spread(only(runs))
    assert found.between_encoders == pytest.approx(np.std(means.mean(1), ddof=1))
    assert found.between_seeds == pytest.approx(np.sqrt(np.mean((means[:, 0] - means[:, 1]) ** 2) / 2))


def test_there_is_no_spread_without_repeated_seeds_or_a_second_encoder() -> None:
    assert spread(only([result("a", 0.3), result("b", 0.4)])) is None
    assert spread(only([result("a", 0.3), result("a", 0.4, 1)])) is None
