"""Block 2's section of docs/findings.md: the slopes over tokens, and what they are called."""

from pathlib import Path

import numpy as np
import pytest
from scipy.stats import linregress, sem, ttest_1samp, ttest_rel

from made_truths import runs
from vlmatch.evidence.truths import comparisons
from vlmatch_study.findings import tokens
from vlmatch_study.findings.holm import holm
from vlmatch_study.findings.runs import write as write_runs
from vlmatch_study.rows import read as rows_of


def of_grids(rise: float) -> dict[str, tuple[float, ...]]:
    """Two seeds of four encoders with 1, 4, 16 and 49 tokens: a level of their own, a rise and noise."""
    noise = iter(np.random.default_rng(2).normal(0, 0.001, 32).tolist())
    return {
        f"{name}_grid{side}": tuple(level + rise * np.log2(side**2) + next(noise) for _ in range(2))
        for name, level in {"a": 0.1, "b": 0.2, "c": 0.15, "d": 0.05}.items()
        for side in (1, 2, 4, 7)
    }


def test_block_2_s_slopes_are_scipy_s_and_numpy_s() -> None:
    truths = of_grids(0.01)
    found = tokens.by_encoder(comparisons(runs(truths))[0])
    assert list(found["a"]) == [1, 4, 16, 49]
    slopes = {each.of: each for each in tokens.slopes(found)}
    doublings = np.log2([1, 4, 16, 49])
    means = np.array([[np.mean(truths[f"{name}_grid{side}"]) for side in (1, 2, 4, 7)] for name in "abcd"])
    line = linregress(doublings, means[0])
    assert (slopes["a"].slope, slopes["a"].error, slopes["a"].p) == pytest.approx(
        (line.slope, line.stderr, line.pvalue)
    )
    own = np.polyfit(doublings, means.T, 1)[0]  # one line through the points of each encoder
    expected = own.mean(), sem(own), ttest_1samp(own, 0).pvalue
    assert (slopes["mean"].slope, slopes["mean"].error, slopes["mean"].p) == pytest.approx(expected, abs=1e-9)


def test_block_2_holds_each_number_of_tokens_against_one_token() -> None:
    truths = of_grids(0.0) | {"d_grid7": (0.4, 0.4)}
    (comparison,) = comparisons(runs(truths))
    found = tokens.contrasts(comparison)
    means = np.array([[np.mean(truths[f"{name}_grid{side}"]) for side in (1, 2, 4, 7)] for name in "abcd"])
    p_values = [ttest_rel(means[:, at], means[:, 0]).pvalue for at in (1, 2, 3)]
    assert [each.tokens for each in found] == [4, 16, 49]
    assert [each.p for each in found] == pytest.approx(p_values, abs=1e-9)
    assert [each.corrected for each in found] == pytest.approx(holm(p_values), abs=1e-9)
    one, other = comparison.by_encoder["d_grid1"], comparison.by_encoder["d_grid7"]
    cell = tokens.contrasts_table(found, "abcd").splitlines()[-1].split(" | ")[4]
    assert cell == f"{means[3, 3] - means[3, 0]:.3f} ({other.error_of_difference(one):.3f})".replace("0.", ".")
    assert "errors (looked at after 17 trainings, without correction): d with 49 tokens (.3" in tokens.answer(
        tokens.slopes(tokens.by_encoder(comparison)), found, finished=True
    )


@pytest.mark.parametrize(
    ("rise", "said"), [(0.01, "rises"), (-0.01, "falls"), (0, "neither rises nor falls significantly")]
)
def test_block_2_s_answer_says_which_way_the_truth_goes(rise: float, said: str) -> None:
    (comparison,) = comparisons(runs(of_grids(rise)))
    slopes = tokens.slopes(tokens.by_encoder(comparison))
    assert said in tokens.answer(slopes, tokens.contrasts(comparison), finished=True)


def test_block_2_waits_for_two_encoders_with_three_numbers_of_tokens() -> None:
    (comparison,) = comparisons(runs({"a_grid1": (0.1,), "a_grid2": (0.2,), "a_grid7": (0.2,), "b_grid1": (0.1,)}))
    found = tokens.by_encoder(comparison)
    assert [each.of for each in tokens.slopes(found)] == ["a"]
    assert tokens.contrasts(comparison) == []
    assert tokens.answer(tokens.slopes(found), [], finished=False) == "The question stays open."
    assert "| b | .100 (" in tokens.truths(comparison)


def test_figures_are_scipy_s_on_the_runs_of_the_csv(tmp_path: Path) -> None:
    found = comparisons(runs(of_grids(0.01)))
    write_runs(tmp_path / "runs.csv", found)
    rows = rows_of(tmp_path / "runs.csv")
    assert len(rows) == 32
    means = {name: np.mean([float(row["truth"]) for row in rows if row["encoder"] == name])
             for name in {row["encoder"] for row in rows}}  # fmt: skip
    line = linregress(np.log2([1, 4, 16, 49]), [means[f"c_grid{side}"] for side in (1, 2, 4, 7)])
    made = next(each for each in tokens.slopes(tokens.by_encoder(found[0])) if each.of == "c")
    assert (made.slope, made.error, made.p) == pytest.approx((line.slope, line.stderr, line.pvalue), abs=1e-9)
