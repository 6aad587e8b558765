"""Scores against the truth, in the report and the terminal: the right encoders, signs and words."""

import re
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from scipy import stats

from made_results import result
from made_rows import ranked, row
from vlmatch.embeddings.store import Store
from vlmatch.evidence.truths import comparisons
from vlmatch.ranking import Ranking
from vlmatch.report.evidence import RankingEvidence, bare, curve_points, paper_line, ranking_evidence, terminal_line
from vlmatch.report.html import rendered_page
from vlmatch.results import Result, Visual
from vlmatch.scores.rows import Row

ENCODERS = (
    "efficientnet_lite0",
    "efficientnet_lite1",
    "mobilenetv2",
    "open_nsfw",
    "craft_vgg16_bn",
    "hed_vgg16",
    "ppocr_direction",
)
TRUTHS = (0.47, 0.46, 0.42, 0.44, 0.31, 0.28, 0.25)
GW = (0.31, 0.30, 0.27, 0.28, 0.20, 0.19, 0.21)  # lower is better: it prefers the worst
CKA = (0.6, 0.5, 0.3, 0.4, 0.2, 0.19, 0.18)


def rows() -> list[Row]:
    found = [row(*each[:1], gw=each[1], cka=each[2]) for each in zip(ENCODERS, GW, CKA, strict=True)]
    return [*found, row("pixels16", control=True, gw=0.4, cka=0.1)]


def runs(*seeds: int) -> list[Result]:
    found = [result(name, mean, seed) for name, mean in zip(ENCODERS, TRUTHS, strict=True) for seed in seeds]
    return found + [result(name, 0.1, seed, control=True) for name in ("pixels16", "blind") for seed in seeds]


def held(rows: Sequence[Row], results: Sequence[Result]) -> tuple[list[Ranking], list[RankingEvidence]]:
    rankings = ranked(rows)
    return rankings, ranking_evidence(rankings, comparisons(results))


def page(tmp_path: Path, rows: Sequence[Row], results: Sequence[Result]) -> str:
    rankings, evidence = held(rows, results)
    return rendered_page(rankings, embeddings=Store(tmp_path / "store").read, evidence=evidence)


def test_a_score_enters_with_the_sign_that_makes_more_better() -> None:
    _, (evidence,) = held(rows(), runs(0))
    found = {score.name: score.correlations["packaged"] for score in evidence.scores}
    assert found["gw"].spearman == pytest.approx(stats.spearmanr(TRUTHS, -np.array(GW)).statistic)
    assert found["gw"].spearman < -0.8
    assert found["cka"].spearman == pytest.approx(stats.spearmanr(TRUTHS, CKA).statistic)
    assert {score.name: score.correlations["all, controls too"].n for score in evidence.scores} == {"gw": 8, "cka": 8}


def test_only_trainings_of_the_rankings_llm_and_encoders_count() -> None:
    assert held(rows(), [result("efficientnet_lite0", 0.3, llm="other"), result("elsewhere", 0.3)])[1] == []
    (evidence,) = held([*rows(), row("untrained", gw=0.3, cka=0.3)], [*runs(0), result("elsewhere", 0.9)])[1]
    assert evidence.absent == ("untrained",)
    assert evidence.scores[0].correlations["without controls"].n == len(ENCODERS)


def test_a_truth_of_other_weights_is_left_out_and_told(tmp_path: Path) -> None:
    first, *others = runs(0)
    changed = replace(first, visual=Visual("global average", 1280, 2, "0" * 64))
    _, (evidence,) = held(rows(), [changed, *others])
    assert evidence.other_weights == (ENCODERS[0],)
    assert evidence.scores[0].correlations["packaged"].n == len(ENCODERS) - 1
    assert f"{ENCODERS[0]} is left out of the correlations" in page(tmp_path, rows(), [changed, *others])


def test_an_imported_truth_that_does_not_know_its_weights_counts() -> None:
    first, *others = rows()
    known = replace(first, image=replace(first.image, weights_sha256="1" * 64))
    _, (evidence,) = held([known, *others], runs(0))
    assert evidence.other_weights == ()
    assert evidence.scores[0].correlations["packaged"].n == len(ENCODERS)


@pytest.mark.parametrize(
    ("order", "words"),
    [
        (GW, "GW (lower is better, as in the paper) orders the encoders the wrong way round: Spearman -"),
        ([-truth for truth in TRUTHS], "predicts this truth: Spearman 1.00 [1.00, 1.00] over 7 encoders"),
        ((0.2, 0.4, 0.1, 0.5, 0.3, 0.35, 0.25), "do not decide whether GW"),
    ],
)
def test_what_is_said_of_the_papers_score_follows_its_interval(order: Sequence[float], words: str) -> None:
    scored = [row(name, gw=value) for name, value in zip(ENCODERS, order, strict=True)]
    assert words in paper_line(held(scored, runs(0))[1][0])


def test_nothing_is_said_of_the_papers_score_where_it_is_not_or_encoders_are_few() -> None:
    assert paper_line(held([row(name, cka=1.0) for name in ENCODERS], runs(0))[1][0]) is None
    assert paper_line(held(rows()[:3], runs(0))[1][0]) is None
    few = paper_line(held(rows()[:4], runs(0))[1][0])
    assert "do not decide" in few
    assert few.endswith("Spearman -1.00 over 4 encoders, without controls")


def test_the_terminal_gets_one_line() -> None:
    line = terminal_line(held(rows(), runs(0, 1))[1][0])
    assert line.startswith(
        "truth (recipe embedded (version 1), llm, data vlm_a, 2 seeds): Spearman over 7 encoders, "
        "without controls: GW -"
    )
    assert "CKA 1.00" in line
    assert "\n" not in line


def test_the_terminal_says_so_where_no_encoder_of_the_pool_has_a_truth() -> None:
    line = terminal_line(held([row("mine", gw=0.1), row("pixels16", control=True, gw=0.2)], runs(0, 1))[1][0])
    assert line.endswith("2 seeds): no VLM was trained with these encoders")


def test_the_terminal_says_so_where_too_few_encoders_have_a_truth() -> None:
    line = terminal_line(held(rows()[:2], runs(0, 1))[1][0])
    assert line.endswith("VLMs were trained with 2 of these encoders, without controls, too few for a correlation")


def test_the_page_shows_correlations_truths_seeds_and_learning_curves(tmp_path: Path) -> None:
    text = page(tmp_path, rows(), runs(0, 1))
    for part in [
        "Scores against the truth: recipe embedded (version 1), llm, data vlm_a, 2 seeds",
        "for 200 steps",
        "420 held-out items",
        "blind (sees nothing)",
        "pixels16 (control)",
        "Agreement of seeds 0 and 1: Spearman 1.00 over 7 pretrained encoders, 1.00 over the 4 of the best tier.",
        "step 25: .188",
        "clipart only",
        "caption choice, same category",
        f"not stored for {', '.join(ENCODERS[:2])}",
    ]:
        assert part in text, part
    assert len(re.findall(r'<tr class="best">', text)) == 4
    assert text.count('<svg class="curve"') == len(ENCODERS) + 2
    assert text == page(tmp_path, rows(), runs(0, 1)), "the same results are the same bytes"


def test_the_page_shows_replaced_results_beside_the_truths(tmp_path: Path) -> None:
    rankings = ranked(rows())
    first = replace(runs(0)[0], dtype="bfloat16")
    evidence = ranking_evidence(rankings, comparisons(runs(0), replaced=[first]))
    text = rendered_page(rankings, embeddings=Store(tmp_path / "store").read, evidence=evidence)
    assert f"replaced it: {ENCODERS[0]}, seed 0, bfloat16: .470." in text
    assert "Precision of the training" not in text


def test_the_page_shows_precisions_where_results_state_them(tmp_path: Path) -> None:
    rankings, (one, *others) = ranked(rows()), runs(0)
    every = [replace(one, precision="bf16-mixed"), *(replace(each, precision="32-true") for each in others)]
    evidence = ranking_evidence(rankings, comparisons(every, replaced=every[:1]))
    text = rendered_page(rankings, embeddings=Store(tmp_path / "store").read, evidence=evidence)
    assert f"Precision of the training: 32-true in {len(others)} runs, bf16-mixed in 1 runs. It may cause" in text
    assert f"replaced it: {one.encoder}, seed 0, precision bf16-mixed: .470." in text


def test_a_best_tier_too_small_for_a_correlation_is_said(tmp_path: Path) -> None:
    few = [run for run in runs(0, 1) if run.encoder in ENCODERS[:4]]
    text = page(tmp_path, rows()[:4], few)
    assert "Spearman 1.00 over 4 pretrained encoders; the best tier (2 encoders) is too small or tied." in text


def test_the_panels_name_each_scores_first_and_never_the_blind_model(tmp_path: Path) -> None:
    panels = page(tmp_path, rows(), runs(0)).partition('<div class="plot">')[2].partition("</div>")[0]
    assert "hed_vgg16" in panels
    assert "efficientnet_lite0" in panels
    assert ">blind<" not in panels
    assert "blind model" in panels
    assert "GW (lower is better)" in panels


def test_a_page_of_one_encoder_one_seed_no_controls_and_no_learning_curve_is_whole(tmp_path: Path) -> None:
    text = page(tmp_path, rows()[:1], [result(ENCODERS[0], 0.4, milestones=(), steps=None, source="imported: x.json")])
    assert "trained with one seed" in text
    assert "n = 1" in text
    assert '<svg class="curve"' not in text
    assert "above blind" not in text


def test_a_ranking_without_trainings_has_no_section(tmp_path: Path) -> None:
    assert "Scores against the truth" not in page(tmp_path, rows(), [])


def test_names_in_results_are_escaped(tmp_path: Path) -> None:
    hostile = [replace(run, data="<b>") for run in runs(0)]
    text = page(tmp_path, rows(), hostile)
    assert "data &lt;b&gt;" in text
    assert "<b>" not in text


def test_a_learning_curve_is_drawn_on_the_scale_of_all() -> None:
    (comparison,) = comparisons([result("a", 0.4), result("b", 0.2)])
    best, worst = (curve_points(truth, comparison).split() for truth in comparison.truths)
    assert best[0].startswith("2.0,")
    assert best[-1] == "70.0,2.0", "the highest of all is at the top"
    assert worst[0] == "2.0,16.0", "the lowest of all is at the bottom"


@pytest.mark.parametrize(
    ("value", "digits", "shown"),
    [(0.934, 2, ".93"), (-0.1, 2, "-.10"), (1.0, 2, "1.00"), (None, 2, "-"), (0.4681, 3, ".468"), (10.05, 2, "10.05")],
)
def test_numbers_lose_their_leading_zero(value: float | None, digits: int, shown: str) -> None:
    assert bare(value, digits) == shown
