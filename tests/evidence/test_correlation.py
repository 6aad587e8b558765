"""Correlation of score and truth: against scipy, closed forms, and a bootstrap written out."""

import math
import warnings

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from made_results import result
from vlmatch.evidence.correlation import RESAMPLES, SUBSETS, by_subset, correlation, spearman
from vlmatch.evidence.truths import comparisons


def named(values) -> dict[str, float]:
    return {f"e{place}": float(value) for place, value in enumerate(values)}


@given(st.lists(st.tuples(st.integers(-3, 3), st.integers(-3, 3)), min_size=4, max_size=20))
def test_it_is_scipys_with_ties_and_none_where_all_are_tied(pairs: list[tuple[int, int]]) -> None:
    x, y = np.array(pairs, dtype=float).T
    found = spearman(x, y)
    if len(set(x)) == 1 or len(set(y)) == 1:
        assert found is None
    else:
        assert found == pytest.approx(stats.spearmanr(x, y).statistic, abs=1e-12)


def test_one_exchange_of_neighbours_is_the_closed_form() -> None:
    assert spearman([1, 2, 3, 4, 5], [10, 20, 40, 30, 50]) == pytest.approx(1 - 6 * 2 / (5 * 24))


@pytest.mark.parametrize(("sign", "value"), [(1, 1.0), (-1, -1.0)])
def test_a_perfect_order_has_an_interval_of_one_point(sign: int, value: float) -> None:
    found = correlation(named(range(7)), named(sign * np.arange(7)))
    assert (found.n, found.spearman, found.low, found.high) == (7, value, value, value)


def test_a_perfect_order_of_few_has_no_interval() -> None:
    found = correlation(named(range(6)), named(range(6)))
    assert (found.n, found.spearman, found.low, found.high) == (6, 1.0, None, None)


def test_the_interval_is_that_of_encoders_drawn_in_pairs(random: np.random.Generator) -> None:
    x = random.normal(size=15)
    y = x + random.normal(size=15)
    found = correlation(named(x), named(y))
    draws = random.integers(15, size=(RESAMPLES, 15))
    ranks = stats.rankdata(x[draws], axis=1), stats.rankdata(y[draws], axis=1)
    drawn = [np.corrcoef(one, other)[0, 1] for one, other in zip(*ranks, strict=True)]
    assert [found.low, found.high] == pytest.approx(np.quantile(drawn, [0.025, 0.975]), abs=0.05)
    assert found.low < found.spearman < found.high


def test_a_few_draws_without_any_order_are_left_out_and_with_many_there_is_no_interval() -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        few = correlation(named(range(8)), named([0, 0, 0, 1, 0, 0, 1, 1]))  # 2% of draws have one value alone
        many = correlation(named(range(7)), named([0, 0, 0, 0, 0, 0, 1]))  # a third
    assert -1 <= few.low < few.spearman < few.high <= 1
    assert many.spearman == pytest.approx(stats.spearmanr(range(7), [0, 0, 0, 0, 0, 0, 1]).statistic)
    assert many.low is None


def test_the_same_encoders_give_the_same_interval(random: np.random.Generator) -> None:
    truth, score = named(random.normal(size=9)), named(random.normal(size=9))
    assert correlation(truth, score) == correlation(truth, score)


def test_encoders_without_a_finite_score_are_left_out_and_n_says_so(random: np.random.Generator) -> None:
    truth, score = named(random.normal(size=9)), named(random.normal(size=9))
    fewer = {encoder: value for encoder, value in score.items() if encoder not in {"e0", "e1"}}
    assert correlation(truth, {**score, "e0": math.nan, "e1": math.inf}) == correlation(truth, fewer)
    assert correlation(truth, fewer).n == 7


@pytest.mark.parametrize("n", [0, 1, 3])
def test_fewer_than_four_encoders_have_no_correlation(n: int) -> None:
    found = correlation(named(range(n)), named(range(n)))
    assert (found.n, found.spearman, found.low, found.high) == (n, None, None, None)


def test_subsets_are_whose_making_the_encoders_are_and_the_blind_model_is_in_none() -> None:
    packaged = ["efficientnet_lite0", "efficientnet_lite1", "mobilenetv2", "open_nsfw", "a_strangers"]
    here = ["siglip_vit_emoji", "lit_mobilenetv2_emoji"]
    means = {name: 0.5 - 0.01 * place for place, name in enumerate([*packaged, *here])}
    runs = [result(name, mean) for name, mean in means.items()]
    runs += [result("pixels16", 0.1, control=True), result("blind", 0.9, control=True)]
    (comparison,) = comparisons(runs)
    members = {name: [truth.encoder for truth in of(comparison)] for name, of in SUBSETS.items()}
    assert members == {
        "all, controls too": [*packaged, *here, "pixels16"],
        "without controls": [*packaged, *here],
        "packaged": packaged,
        "trained here": here,
        "best tier": packaged[:3],
    }
    found = by_subset(comparison, means)
    assert {name: each.n for name, each in found.items()} == {
        "all, controls too": 7, "without controls": 7, "packaged": 5, "trained here": 2, "best tier": 3,
    }  # fmt: skip
    assert found["packaged"].spearman == 1.0
    assert found["trained here"].spearman is None
