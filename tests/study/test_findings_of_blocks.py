"""Blocks 1 and 3: figures equal scipy's, and the answers follow from the truths."""

import numpy as np
import pytest
from scipy.stats import permutation_test, spearmanr, ttest_rel

from made_truths import runs
from vlmatch.evidence.truths import comparisons
from vlmatch_study.blocks.block import Block
from vlmatch_study.blocks.worlds import world_of
from vlmatch_study.evidence import later
from vlmatch_study.findings import confound, new_members
from vlmatch_study.rows import read as rows_of

VARIANTS = [f"{name}{ending}" for name in ("a", "b", "c") for ending in confound.VARIANTS.values()]


def of_variants() -> dict[str, tuple[float, ...]]:
    """Two seeds of each variant of three encoders."""
    drawn = np.random.default_rng(0).normal(0.2, 0.1, (len(VARIANTS), 2))
    return {name: tuple(map(float, truths)) for name, truths in zip(VARIANTS, drawn, strict=True)}


def test_block_1_s_figures_are_scipy_s() -> None:
    truths = of_variants()
    mean = {name: np.mean(each) for name, each in truths.items()}
    scores = np.random.default_rng(1).random((len(VARIANTS), len(confound.SCORES)))
    rows = [{"encoder": name, **dict(zip(confound.SCORES, map(repr, each), strict=True))}
            for name, each in zip(VARIANTS, scores.tolist(), strict=True)]  # fmt: skip
    (comparison,) = comparisons(runs(truths))
    found = confound.followed(comparison, rows)
    truth = np.array([mean[name] for name in VARIANTS])
    for each, column in zip(found, scores.T, strict=True):
        assert each.over_all == pytest.approx(spearmanr(column, truth).statistic, abs=1e-9)
        own = [spearmanr(*parts).statistic for parts in zip(column.reshape(3, 4), truth.reshape(3, 4), strict=True)]
        assert each.within.spearman == pytest.approx(np.mean(own), abs=1e-9)
        own = [spearmanr(*parts).statistic
               for parts in zip(column.reshape(3, 4)[:, :3], truth.reshape(3, 4)[:, :3], strict=True)]  # fmt: skip
        assert each.without_noise.spearman == pytest.approx(np.mean(own), abs=1e-9)
    whitened = confound.changes(comparison, ["a", "b", "c"])[0]
    pairs = [[mean[name] for name in "abc"], [mean[f"{name}_whitened"] for name in "abc"]]
    assert whitened.p == pytest.approx(ttest_rel(*pairs).pvalue, abs=1e-9)
    assert whitened.mean == pytest.approx(np.mean(pairs[1]) - np.mean(pairs[0]), abs=1e-12)


def test_block_1_s_p_is_scipy_s_exact_one_for_one_encoder_and_that_of_drawn_orders_for_several() -> None:
    random = np.random.default_rng(3)
    truth, values = random.random((2, 12))
    rows = [{"encoder": name} for name in VARIANTS]
    exact = permutation_test(
        (values[:4],), lambda x: spearmanr(x, truth[:4]).statistic, permutation_type="pairings", alternative="greater"
    )
    assert confound.within(rows[:4], truth[:4], values[:4], True) == pytest.approx((exact.statistic, exact.pvalue))

    def statistic(ordered: np.ndarray) -> float:
        return float(np.mean([spearmanr(*parts).statistic for parts in zip(ordered, truth.reshape(3, 4), strict=True)]))

    found, p = confound.within(rows, truth, values, True)
    drawn = [statistic(random.permuted(values.reshape(3, 4), axis=1)) for _ in range(2000)]
    assert p == pytest.approx(np.mean(np.array(drawn) >= found - 1e-9), abs=0.04)


def test_block_1_s_answer_names_the_score_that_the_truth_follows() -> None:
    truths = of_variants()
    rows = [{"encoder": name, **dict.fromkeys(confound.SCORES, str(at % 5)), "participation_ratio": str(np.mean(each))}
            for at, (name, each) in enumerate(truths.items())]  # fmt: skip
    (comparison,) = comparisons(runs(truths))
    said = confound.answer([], confound.followed(comparison, rows), finished=True)
    found = "it correlates significantly with participation ratio (1.00), but not with "
    assert said.startswith("Within encoders, the truth" + found.removeprefix("it"))
    assert f"Without the noise variants, {found}" in said


def test_block_1_counts_the_pairs_of_one_encoder_s_variants_that_a_score_orders_as_the_truth_does() -> None:
    truths = {"a": (0.4,), "a_whitened": (0.2,), "a_noise": (0.0,), "b": (0.3,), "b_noise": (0.301,)}
    values = {"a": 3, "a_whitened": 4, "a_noise": 1, "b": 1, "b_noise": 2, "b_whitened": 5}
    rows = [{"encoder": name, **dict.fromkeys(confound.SCORES, str(value))} for name, value in values.items()]
    (comparison,) = comparisons(runs(truths))
    for each in confound.ordered(comparison, rows):
        assert (each.with_noise, each.others, each.clear) == ((3, 3), (0, 1), (0, 1))
    assert confound.orders(confound.ordered(comparison, rows)).count("| 3 of 3 | 0 of 1 | 0 of 1 |") == 4
    assert confound.orders(confound.ordered(comparison, [])) == ""


def test_block_1_s_tables_stand_with_some_of_the_trainings() -> None:
    (comparison,) = comparisons(runs({"a": (0.2,), "a_noise": (0.1,), "b": (0.3,)}))
    made = confound.changes(comparison, ["a", "b"])
    assert [each.variant for each in made if each.differences] == ["noise"]
    assert confound.differences(made, ["a", "b"]).count("\n") == 2
    assert confound.truths(comparison, ["a", "b"]).count("\n") == 4
    assert confound.followed(comparison, []) == []
    assert confound.answer(made, [], finished=False) == "The question stays open."


def new_rows() -> list[dict[str, str]]:
    """The committed scores of block 3."""
    return rows_of(Block(3, ()).folder / "scores.csv")


@pytest.mark.parametrize(("by", "refuted"), [("mutual_nn", 0), ("gw", 1)])
def test_block_3_s_answer_follows_from_the_truths(by: str, refuted: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("vlmatch.evidence.replay.POOLS", 1000)
    monkeypatch.setattr("vlmatch.evidence.replay.RESAMPLES", 20)
    rows = new_rows()
    sign = {"mutual_nn": 1, "gw": 2}[by]  # GW is a distance, and truths that grow with it are against the rule
    truths = {row["encoder"]: (sign * float(row[by]), sign * float(row[by]) + 0.001) for row in rows}
    (comparison,) = comparisons(runs(truths))
    found = later.replayed(comparison, rows)
    assert found is not None
    assert (found.encoders, found.families, found.seeds) == (14, 11, (0, 1))
    said = new_members.answer(found, None, finished=True)
    assert ("The pooled rule is worth following: refuted." in said) == bool(refuted)
    assert ("chosen on: refuted." in said) == bool(refuted)
    assert found.by_chance is not None
    assert (found.by_chance < 0.01) == (by == "mutual_nn"), (
        "by these truths the rule is perfect, or the wrong way round"
    )
    assert "refuted. " not in new_members.answer(found, None, finished=False), "no verdict while trainings are missing"
    assert new_members.regrets([found]).count("\n") == 2 + len(later.RULES)
    table = new_members.places(comparison, rows).splitlines()
    assert [line.split(" | ")[4] for line in table[2:]] == [str(place) for place in range(1, 15)]


def test_block_3_waits_for_as_many_encoders_as_a_pool_has_and_for_seeds_that_all_have() -> None:
    rows = new_rows()
    truths = {row["encoder"]: (float(row["mutual_nn"]), 0.1)[: 1 + (at < 3)] for at, row in enumerate(rows)}
    (comparison,) = comparisons(runs(truths))
    world = world_of("made", comparison, rows, later.RULES)
    assert world is not None
    assert world.truth.shape == (14, 1)
    assert later.replayed(comparison, rows[:7]) is None
    assert "| without a health warning (8) |" in new_members.correlations(comparison, rows).splitlines()[0] + " "
    smaller = later.replayed(comparison, rows, size=later.SMALLER)
    assert smaller is not None
    assert None not in smaller.outcomes[1].fraction, "14 encoders of 11 families have an interval in pools of 5"
    whole = later.replayed(comparison, rows)
    assert "in 90% of pools: can't be judged without an interval" in new_members.answer(whole, None, finished=True)
    assert "in 90% of pools: not refuted" in new_members.answer(whole, smaller, finished=True)
    assert "too few" in new_members.answer(None, None, finished=False)
