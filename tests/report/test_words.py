"""The sentences of the answer: each says what it must, in one line."""

from dataclasses import replace

import pytest

from made_rows import ranked, row
from vlmatch.evidence.record import record
from vlmatch.ranking import Question
from vlmatch.report.words import against_line, first_screen, held_line, percent, spec_sheet_line


def only(fed: str, **asked: str):
    values = {"a": 0.1, "b": 0.9, "c": 0.5, "d": 0.2, "e": 0.3}
    needs = sorted({name for each in ("pooled", "patches") for name in record().world(each).rule.needs})
    rows = [row(name, gw=1 - value, **dict.fromkeys(needs, value)) for name, value in values.items()]
    (ranking,) = ranked(rows, Question(fed=fed, **asked))
    return ranking.llms[0], ranking.question


@pytest.mark.parametrize("fed", ["pooled", "patches"])
def test_the_first_screen_has_at_most_ten_lines_and_the_shortlist_first(fed: str) -> None:
    llm, question = only(fed, against="c")
    lines = first_screen(llm, question)
    assert len(lines) <= 10
    assert lines[0].startswith("shortlist for llm: b")
    assert all("\n" not in line for line in lines)


@pytest.mark.parametrize("fed", ["pooled", "patches"])
def test_whether_the_spec_sheet_would_do_as_well_follows_the_interval_of_the_difference(fed: str) -> None:
    llm, _ = only(fed)
    world = record().world(fed)
    line = spec_sheet_line(llm)
    assert ("would not have done as well" in line) == (world.spec_sheet_loses_more.low > 0)
    assert percent(world.chosen_by(5).by_rule[world.spec_sheet.name].value) in line
    assert f"the rule lost {percent(world.chosen_by(5).fraction.value)} of" in line  # of choosing, not of the chosen


def test_the_coverage_stands_with_its_interval_and_the_plain_list() -> None:
    llm, _ = only("patches")
    found = llm.shortlist.calibration
    line = held_line(llm)
    first, second = found.held_out, found.coverage
    assert line.startswith(f"in {percent(first.value)} [{percent(first.low)}, {percent(first.high)}] of replayed pools")
    assert f"({percent(second.value)} [{percent(second.low)}, {percent(second.high)}] on those that set it)" in line
    assert f"set the margin, plain lists of that length held it in {percent(found.top_k)}" in line
    assert f"from {record().world('patches').n_encoders} encoders" in line


def test_a_list_longer_than_replayed_ones_says_how_much_of_the_pool_it_has() -> None:
    llm, _ = only("patches")
    assert "Yours has" not in held_line(llm)
    longer = replace(llm, shortlist=replace(llm.shortlist, encoders=tuple("bceda")))
    assert "Yours has all 5 candidates, so it narrows nothing: their order changes" in held_line(longer)
    most = replace(llm, shortlist=replace(llm.shortlist, encoders=tuple("bced")))
    assert "Yours has 4 of the 5 candidates: their order changes" in held_line(most)
    two = replace(llm, encoders=llm.encoders[:2], shortlist=replace(llm.shortlist, encoders=tuple("bc")))
    assert held_line(two).endswith("Yours has all 2 candidates, so it narrows nothing")


def test_the_rule_for_one_pooled_feature_says_how_to_ask_for_all_patches() -> None:
    pooled, patches = (first_screen(*only(fed))[-1] for fed in ("pooled", "patches"))
    assert "answer.fed=patches" in pooled
    assert "answer.fed" not in patches


def test_a_rule_that_was_not_replayed_claims_no_coverage() -> None:
    llm, _ = only("patches", selection="gw")
    assert held_line(llm) is None
    assert spec_sheet_line(llm) is None


def test_every_candidate_is_judged_against_the_current_one() -> None:
    llm, _ = only("pooled", against="c")
    line = against_line(llm, "c")
    assert line.startswith("against c: ")
    assert all(f"{name}" in line for name in "abde")
