"""The first screen: each fact says what it must, in one line."""

import io
from dataclasses import replace

import pytest
from rich.console import Console

from made_rows import ranked, row
from vlmatch.costs.budget import Budget
from vlmatch.evidence.record import record
from vlmatch.ranking import LlmRanking, Question
from vlmatch.report.answer import PoolRanking
from vlmatch.report.first_screen import FirstScreen, first_screen
from vlmatch.report.html import rendered_page
from vlmatch.report.markdown import rendered_markdown
from vlmatch.report.words import percent


def only(fed: str, **asked: object) -> tuple[LlmRanking, Question]:
    values = {"a": 0.1, "b": 0.9, "c": 0.5, "d": 0.2, "e": 0.3}
    needs = sorted({name for each in ("pooled", "patches") for name in record().world(each).rule.needs})
    rows = [row(name, gw=1 - value, **dict.fromkeys(needs, value)) for name, value in values.items()]
    (ranking,) = ranked(rows, Question(fed=fed, **asked))
    return ranking.llms[0], ranking.question


def screen(fed: str, **asked: object) -> FirstScreen:
    return first_screen(*only(fed, **asked))


@pytest.mark.parametrize("fed", ["pooled", "patches"])
def test_the_first_screen_has_at_most_ten_lines_and_the_shortlist_first(fed: str) -> None:
    lines = screen(fed, against="c").lines()
    assert len(lines) <= 10
    assert lines[0].startswith("shortlist for llm: b")
    assert all("\n" not in line for line in lines)


@pytest.mark.parametrize("fed", ["pooled", "patches"])
def test_whether_the_spec_sheet_would_do_as_well_follows_the_interval_of_the_difference(fed: str) -> None:
    world = record().world(fed)
    verdict = screen(fed).verdict
    assert ("the spec sheet would not have done as well" in str(verdict)) == (world.spec_sheet_loses_more.low > 0)
    assert percent(world.spec_sheet_loses_more.value) in verdict.details[0]


def test_the_coverage_stands_with_its_interval_and_the_plain_list() -> None:
    said = screen("patches")
    found, line, details = said.calibration, str(said.held), " ".join(said.held.details)
    first, second = found.held_out, found.coverage
    coverage = f"{percent(first.value)} [{percent(first.low)}, {percent(first.high)}]"
    assert line.startswith(f"such lists held the best encoder in {coverage} of replayed pools")
    assert f"({percent(second.value)} [{percent(second.low)}, {percent(second.high)}] on those that set it)" in details
    assert f"set the margin, plain lists of that length held the best in {percent(found.top_k)}" in details
    assert f"from {record().world('patches').n_encoders} encoders" in details


def test_a_list_longer_than_replayed_ones_says_how_much_of_the_pool_it_has() -> None:
    llm, question = only("patches")

    def last(listed: str, n_candidates: int = 5) -> str:
        shortened = replace(llm, encoders=llm.encoders[:n_candidates])
        longer = replace(shortened, shortlist=replace(llm.shortlist, encoders=tuple(listed)))
        return first_screen(longer, question).held.more[-1]

    assert "yours has" not in last("b")
    assert last("bceda").startswith("yours has all 5 candidates, so it narrows nothing: their order changes")
    assert last("bced").startswith("yours has 4 of the 5 candidates: their order changes")
    assert last("bc", 2) == "yours has all 2 candidates, so it narrows nothing"


def test_a_choice_says_whether_its_encoders_are_on_the_list() -> None:
    llm, question = only("pooled")
    listed, opinion = llm.shortlist.encoders, llm.opinions[0]
    left = next(each.row.encoder for each in llm.encoders if each.row.encoder not in listed)

    def where(*encoders: str) -> str:
        said = first_screen(replace(llm, opinions=(replace(opinion, encoders=encoders),)), question)
        return said.rows[1][2]

    assert where(*listed) == "yes"
    assert where(left) == "no"
    assert where(left, listed[0]) == "some"


@pytest.mark.parametrize("fed", ["pooled", "patches"])
def test_choices_have_the_losses_of_the_record_and_those_among_encoders_trained_later(fed: str) -> None:
    llm, question = only(fed)
    said, world = first_screen(llm, question), record().world(fed)
    held_out = world.chosen_by(5)
    rule, sheet, *others = said.choices
    assert (rule.by, rule.encoders) == ("this rule", ("b",))
    assert rule.lost == held_out.fraction.value  # of choosing a rule, not of the one that was chosen
    assert sheet.lost == held_out.by_rule[world.spec_sheet.name].value
    assert [(each.by, each.lost) for each in others] == [("the paper's GW", llm.opinions[-1].regret)]
    later = [world.later_regret(name, 5) for name in (world.rule.name, world.spec_sheet.name, "gw")]
    assert [each.later for each in said.choices] == later
    assert ("Lost later: the same among 14 encoders" in said.measured) == (fed == "pooled")


def test_a_column_of_which_nothing_is_known_is_left_out_with_its_note() -> None:
    llm, question = only("pooled")
    some = first_screen(llm, question)
    world = replace(llm.world, later=replace(llm.world.later, outcomes=()))
    none = first_screen(
        replace(llm, world=world, opinions=tuple(replace(each, later=None) for each in llm.opinions)), question
    )
    assert (some.heads[-1], none.heads[-1]) == ("lost later", "lost")
    assert [row[:-1] for row in some.rows] == none.rows
    assert "Lost later" in some.measured
    assert "later" not in none.measured
    one = replace(llm.opinions[0], later=None)
    rows = first_screen(replace(llm, opinions=(one, *llm.opinions[1:])), question).rows
    assert "?" in [row[-1] for row in rows], "one row that is known keeps the column"


def test_the_terminal_the_notebook_the_page_and_the_markdown_leave_it_out_alike() -> None:
    for fed, told in (("pooled", True), ("patches", False)):
        llm, question = only(fed)
        (one,) = ranked([each.row for each in llm.encoders], question)
        answer, text = PoolRanking((one,)), io.StringIO()
        answer.show(Console(file=text, width=200))
        for shown in (text.getvalue(), answer._repr_html_(), rendered_page([one]), rendered_markdown([one])):
            assert "on the list" in shown
            assert ("lost later" in shown) == told
            assert ("Lost later" in shown) == told


def test_the_rule_for_one_pooled_feature_says_how_to_ask_for_all_patches() -> None:
    pooled, patches = (screen(fed).lines()[-1] for fed in ("pooled", "patches"))
    assert "answer.fed=patches" in pooled
    assert "answer.fed" not in patches


def test_a_rule_that_was_not_replayed_claims_no_coverage() -> None:
    said = screen("patches", selection="gw")
    assert str(said.held).startswith("how often such lists held the best encoder is not known")
    assert said.calibration is None
    assert said.verdict is None
    assert "this rule" not in [each.by for each in said.choices]


def test_every_candidate_is_judged_against_the_current_one() -> None:
    said = screen("pooled", against="c").against
    assert said.about == "better than c:"
    named = " ".join([said.says, *said.more]).replace("; ", " ").replace(",", "").split()
    assert set("abde") <= set(named)


def test_a_budget_that_nobody_meets_says_so_and_lets_the_nearest_in() -> None:
    said = screen("pooled", budget=Budget(parameters=1))
    assert said.headline == "no recommendation for llm: no candidate meets the budget"
    assert str(said.budget).startswith(
        "within budget.params=1: none of the 5 candidates, so nothing is recommended; the nearest"
    )
    assert any(line.startswith("kept out by budget.params: ") for line in said.lines())
