"""What MLflow shows of a ranked encoder: place, value, truths and costs, as far as they are known."""

from dataclasses import replace

import pytest

from made_results import result
from made_rows import ranked, row
from vlmatch.costs.candidate import CandidateCost
from vlmatch.evidence.truths import comparisons
from vlmatch.report.evidence import ranking_evidence
from vlmatch.results import Visual
from vlmatch.tracking.fields import (
    PLACE,
    VALUE,
    pair_of,
    pair_of_tags,
    ranked_metrics,
    score_metrics,
    tags_of,
    truths_of,
)
from vlmatch.tracking.views import PREFIX, ranking_views, saved

ROWS = [row("a", gw=0.31, cka=0.61234), row("b", gw=0.30, cka=0.5), row("pixels16", control=True, gw=0.4, cka=0.1)]


def test_the_truth_is_the_mean_over_seeds_and_that_of_other_weights_is_none() -> None:
    (ranking,) = ranked(ROWS)
    (llm,) = ranking.llms
    other = replace(result("b", 0.4), visual=Visual("global average", 1280, 2, "0" * 64))
    runs = [result("a", 0.2), result("a", 0.3, 1), other]
    (name, known), *more = truths_of(llm, ranking_evidence([ranking], comparisons(runs))).items()
    assert (name, more) == (f"truth/{runs[0].recipe.name} {runs[0].data}", [])
    assert known == {"a": pytest.approx(0.25)}
    assert ranked_metrics(llm.ranked("a"), {name: known})[name] == 0.25
    assert name not in ranked_metrics(llm.ranked("b"), {name: known})


def test_a_control_has_no_place_and_what_is_not_known_of_a_cost_is_no_metric() -> None:
    (ranking,) = ranked(ROWS)
    (llm,) = ranking.llms
    assert {PLACE, VALUE} & ranked_metrics(llm.ranked("pixels16"), {}).keys() == set()
    cost = CandidateCost("a", parameters=23508032, tokens=0)
    found = ranked_metrics(replace(llm.ranked("a"), cost=cost, value=2 / 3, place=1), {})
    assert found == {
        "rule/place": 1,
        "rule/value": 0.6667,
        "cost/million parameters": 23.51,
        "cost/tokens per image": 0,
    }


def test_the_rules_scores_come_first_with_four_digits() -> None:
    assert list(score_metrics(ROWS[0].scores, ["cka"]).items()) == [("score/cka", 0.6123), ("score/gw", 0.31)]


def test_the_tags_of_a_pair_name_it_and_none_of_them_is_the_recipe_of_a_training() -> None:
    pair = pair_of(ROWS[0])
    assert pair_of_tags(tags_of(pair)) == pair
    assert "recipe" not in tags_of(pair)


def test_a_view_has_a_key_for_an_address_and_views_of_people_are_left_alone() -> None:
    (ranking,) = ranked(ROWS)
    (llm,) = ranking.llms
    ranking = replace(ranking, llms=(replace(llm, llm="me/my llm"),))
    (view,) = ranking_views([ranking], "s", lambda llm: {"truth/x": {"a": 0.1}})
    assert view.key == "ranking-me-my-llm"
    assert ("score/gw", "truth/x") in view.charts
    assert "truth/x" in view.metrics
    tags = {view.tag: view.stored(), f"{PREFIX}0a1b": '{"name": "mine"}', "mlflow.note.content": "words"}
    assert saved(tags) == {"ranking-me-my-llm": "Ranking for me/my llm"}


def test_two_rankings_of_one_llm_in_a_sweep_have_a_view_each() -> None:
    (ranking,) = ranked(ROWS)
    (llm,) = ranking.llms
    others = [replace(ranking, text_recipe=recipe) for recipe in ("layer-2_mean", "layer-1_mean")]
    views = ranking_views(others, "s", lambda llm: {})
    assert len({view.key for view in views}) == len({view.title for view in views}) == 2
    assert views[0].title == f"Ranking for {llm.llm}, {ranking.image_recipe} x layer-2_mean"
