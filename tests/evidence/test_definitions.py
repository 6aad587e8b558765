"""Definitions of the truth: version 3 by hand, version 2 as stored, and both for suites without a definition."""

from statistics import fmean

import pytest
from scipy import stats

from made_results import result
from vlmatch import paths
from vlmatch.errors import VlmatchError
from vlmatch.evidence.definitions import BLIND_NATS, definition_of
from vlmatch.evidence.seeds import spread
from vlmatch.evidence.truths import Comparison, comparisons
from vlmatch.results import read


def ours(version: int) -> Comparison:
    (comparison,) = comparisons(read(paths.results()), version)
    return comparison


def by_hand(run) -> float:
    scores = {name: benchmark.score for name, benchmark in run.benchmarks.items()}
    naming = ((scores["caption_choice"] - 1 / 8) / (7 / 8) + (scores["retrieval"] - 1 / 8) / (7 / 8)) / 2
    return (naming + (scores["category"] - 1 / 15) / (14 / 15) + scores["caption_gain"] / 4.97) / 3


def test_version_3_is_naming_category_and_the_share_of_the_blind_models_nats_that_the_picture_saves() -> None:
    comparison = ours(3)
    for truth in comparison.truths:
        hand = {run.seed: by_hand(run) for run in truth.runs}
        assert truth.by_seed == pytest.approx(hand, abs=1e-6), truth.encoder
        assert truth.mean == pytest.approx(fmean(hand.values()), abs=1e-6)
    assert comparison.groups == ("naming", "category", "caption gain", "detail")
    assert comparison.shown_only == ("detail",)
    assert comparison.group_of("caption_choice_hard") is None


def test_the_divisor_is_the_blind_models_loss_and_blind_is_0() -> None:
    blind = ours(3).blind
    assert fmean(run.loss for run in blind.runs) == pytest.approx(BLIND_NATS, abs=0.005)
    assert blind.mean == pytest.approx(0, abs=1e-6)


def test_version_2_is_the_mean_that_each_result_stores() -> None:
    for truth in ours(2).truths:
        assert truth.by_seed == {run.seed: run.mean.score for run in truth.runs}


def test_both_versions_order_the_encoders_nearly_alike_and_seeds_disturb_version_3_less() -> None:
    three, two = ours(3), ours(2)
    means = [[each.by_encoder[truth.encoder].mean for truth in two.pretrained] for each in (three, two)]
    assert stats.spearmanr(*means).statistic > 0.95
    ratios = [spread(each).between_encoders / spread(each).between_seeds for each in (three, two)]
    assert ratios[0] > ratios[1]


def test_a_suite_without_a_definition_keeps_its_stored_mean() -> None:
    run = result("a", 0.3)
    for version in (2, 3):
        assert definition_of(run, version).value(run) == run.mean.score
    (comparison,) = comparisons([run])
    assert comparison.groups == ("captions", "categories")
    assert comparison.shown_only == ()


def test_weights_of_benchmarks_give_the_value() -> None:
    (run, *_) = read(paths.results())
    for version in (2, 3):
        made_of = definition_of(run, version)
        total = sum(
            weight * (run.benchmarks[name].score - run.benchmarks[name].chance)
            for name, weight in made_of.weights(run).items()
        )
        assert total == pytest.approx(made_of.value(run), abs=2e-5)


def test_an_unknown_version_is_refused() -> None:
    with pytest.raises(VlmatchError, match="truth=4, wanted 3, or 2"):
        comparisons([result("a", 0.3)], 4)
