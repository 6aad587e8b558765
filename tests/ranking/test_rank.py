"""Ranking: the order, the controls, the pick and the agreement."""

from dataclasses import replace

import numpy as np
import pytest

from made_rows import QUESTION, header, ranked, row
from vlmatch.costs.budget import Budget
from vlmatch.costs.candidate import CandidateCost
from vlmatch.errors import VlmatchError
from vlmatch.evidence.record import record
from vlmatch.ranking import Question, rank_rows
from vlmatch.ranking.rule import ChosenRule, _kind, best_by, standings
from vlmatch.ranking.separation import separation_refusal
from vlmatch.scores.rows import Row
from vlmatch.scores.scored import LeftOut


def only(rows, question=QUESTION):
    (ranking,) = ranked(rows, question)
    (llm,) = ranking.llms
    return llm


def test_a_score_orders_the_pool_and_controls_stand_last() -> None:
    llm = only([row("a", gw=0.3), row("pixels", control=True, gw=0.1), row("b", gw=0.2)])
    assert [each.row.encoder for each in llm.encoders] == ["b", "a", "pixels"]
    assert [each.place for each in llm.encoders] == [1, 2, None]
    assert llm.shortlist.encoders == ("b",)
    assert llm.pick == "b"


def test_encoders_at_a_chosen_layer_are_ranked_after_and_apart_from_the_others() -> None:
    whole, other = row("a", gw=0.3), row("b", gw=0.1)
    spec = replace(other.image.spec, settings={"feature": "paper", "layer": 4})
    at_layer = replace(other, image=replace(other.image, spec=spec))
    found = ranked([at_layer, whole], QUESTION)
    assert [[each.row.encoder for each in ranking.llms[0].encoders] for ranking in found] == [["a"], ["b @ layer 4"]]


def test_a_control_that_is_ahead_is_told_and_does_not_veto() -> None:
    llm = only([row("a", gw=0.3), row("b", gw=0.2), row("pixels", control=True, gw=0.25)], Question(selection="paper"))
    assert llm.pick == "b"
    assert llm.warnings == ("by GW the control 'pixels' outranks 1 of 2 candidates (a)",)
    assert not llm.controls_last["gw"]


def test_a_control_that_is_ahead_by_a_score_of_the_rule_is_told_but_not_by_the_spec_sheet() -> None:
    sheet = {"language_supervised": 0.0, "width": 5.0, "tokens": 5.0}
    candidates = [row(name, ridge_r2=value, **sheet) for name, value in (("a", 0.1), ("b", 0.5), ("c", 0.6))]
    pixels = row("pixels", control=True, ridge_r2=0.3, language_supervised=0.0, width=9.0, tokens=9.0)
    spec = {name: replace(pixels.scores[name], uses=("spec",)) for name in sheet}
    llm = only([*candidates, replace(pixels, scores={**pixels.scores, **spec})], Question(selection="evidence"))
    told = [line for line in llm.warnings if "outranks" in line]
    assert told == ["by RIDGE_R2 the control 'pixels' outranks 1 of 3 candidates (a)"]


def test_a_candidate_that_ties_with_a_control_counts_as_outranked() -> None:
    llm = only([row("a", gw=0.3), row("b", gw=0.2), row("pixels", control=True, gw=0.3)], Question(selection="paper"))
    assert llm.warnings == ("by GW the control 'pixels' outranks 1 of 2 candidates (a)",)
    tied = only([row("a", cka=0.5), row("pixels", control=True, cka=0.5)], Question(selection="cka"))
    assert tied.warnings == ("by CKA the control 'pixels' outranks 1 of 1 candidates (a)",)
    assert not tied.controls_last["cka"]


def test_the_paper_takes_the_lowest_gw() -> None:
    assert only([row("a", gw=0.3, cka=0.9), row("b", gw=0.2, cka=0.1)], Question(selection="paper")).pick == "b"


def test_a_rule_whose_scores_were_not_computed_gives_no_recommendation_but_an_order() -> None:
    llm = only([row("a", gw=0.3), row("b", gw=0.2)], Question(selection="evidence"))
    assert llm.pick is None
    assert "add it to `score`" in llm.refusal
    assert [each.row.encoder for each in llm.encoders] == ["b", "a"]
    assert llm.rule == "the lowest GW, because the requested rule can't be followed"


def test_a_rule_that_needs_what_is_known_of_no_candidate_says_why() -> None:
    reason = LeftOut("'zero_shot' of the encoder is not known", 1, {}, {})
    rows = [replace(row(name, gw=gw), left_out={"zero_shot": reason}) for name, gw in (("a", 0.3), ("b", 0.2))]
    llm = only(rows, Question(selection="zero_shot"))
    assert llm.pick is None
    assert "zero_shot ('zero_shot' of the encoder is not known)" in llm.refusal
    assert "add it to `score`" not in llm.refusal


def test_a_rule_without_the_spec_sheet_names_the_score_that_is_left_of_it() -> None:
    world = record().world("patches")
    reason = LeftOut("not known", 1, {}, {})
    lacking = dict.fromkeys(world.spec_sheet.needs, reason)
    rows = [replace(row(name, gw=0.1, ridge_r2=r2), left_out=lacking) for name, r2 in (("a", 0.3), ("b", 0.2))]
    assert only(rows, Question(fed="patches")).refusal.endswith("choose another `selection`, such as ridge_r2")


def test_what_the_llm_is_fed_is_refused_if_it_is_neither() -> None:
    with pytest.raises(VlmatchError, match="fed='pool'; wanted 'pooled' or 'patches'"):
        Question(fed="pool")


def evidence_row(name: str, value: float, **options) -> Row:
    """A row whose scores of both settings' rules all have this value."""
    needs = {name for fed in ("pooled", "patches") for name in record().world(fed).rule.needs}
    return row(name, gw=1 - value, **dict.fromkeys(sorted(needs), value), **options)


@pytest.mark.parametrize("fed", ["pooled", "patches"])
def test_the_evidence_rule_lists_the_best_first_with_how_often_such_lists_held(fed: str) -> None:
    values = {"a": 0.1, "b": 0.9, "c": 0.5, "d": 0.2, "e": 0.3}
    llm = only([evidence_row(*each) for each in values.items()], Question(fed=fed))
    assert llm.pick == "b"
    assert [each.value for each in llm.encoders] == [1, 0.75, 0.5, 0.25, 0]
    calibration = llm.shortlist.calibration
    assert calibration.size == 5
    within = [each.row.encoder for each in llm.encoders if 1 - each.value <= calibration.margin]
    assert llm.shortlist.encoders == tuple(within)


def test_pixels_that_no_candidate_beats_end_the_recommendation() -> None:
    rows = [evidence_row("a", 0.3), evidence_row("b", 0.2), evidence_row("pixels16", 0.4, control=True)]
    llm = only(rows, Question())
    assert llm.shortlist is None
    assert llm.refusal.startswith("this probe can't separate your candidates from 16x16 pixels")
    assert only([*rows, evidence_row("c", 0.5)], Question()).pick == "c"


def test_candidates_are_compared_with_the_pixels_by_scores_that_all_have() -> None:
    rows = [row("a", cka=0.3, rsa=0.9), row("b", cka=0.2)]
    pixels = [row("pixels16", control=True, cka=0.4, rsa=0.1)]
    refusal = separation_refusal(rows, pixels, ["cka", "rsa"])
    assert "by CKA, none of them is ahead" in refusal
    assert separation_refusal(rows, pixels, ["rsa"]) is None


def test_a_score_by_which_no_candidate_beats_noise_is_told() -> None:
    def beside(name: str, value: float, noise: float) -> Row:
        made = row(name, cka=value)
        subsamples = {"subsamples": (value, value + 0.02), "n_pairs": 4, "n_subsampled": 2}
        return replace(made, scores={"cka": replace(made.scores["cka"], noise=noise, **subsamples)})

    void = [beside("a", 0.11, 0.10), beside("b", 0.12, 0.10)]  # within 2 deviations of .014
    told = only(void, Question(selection="cka")).warnings
    assert any("by CKA no candidate fits the captions better than noise" in line for line in told)
    clear = [*void, beside("c", 0.2, 0.1)]
    assert not any("noise" in line for line in only(clear, Question(selection="cka")).warnings)
    untwinned = [row("a", cka=0.1), row("b", cka=0.2)]
    assert not any("noise" in line for line in only(untwinned, Question(selection="cka")).warnings)


def test_the_more_candidates_there_are_the_further_one_must_be_ahead_of_the_pixels() -> None:
    def resampled(name: str, value: float, subsamples: tuple[float, ...] = (0.0, 0.0), control: bool = False) -> Row:
        made = row(name, control=control, cka=value)
        cka = replace(made.scores["cka"], subsamples=subsamples, n_pairs=4, n_subsampled=2)
        return replace(made, scores={"cka": cka})

    pixels = [resampled("pixels16", 0.0, (0.01, -0.01), control=True)]
    deviation = np.std([0.01, -0.01], ddof=1)  # of half of the pairs, which stands for that of all
    ahead = resampled("a", 2.4 * deviation)
    assert separation_refusal([ahead], pixels, ["cka"]) is None
    assert separation_refusal([resampled("a", 1.9 * deviation)], pixels, ["cka"]) is not None
    many = [ahead, *(resampled(f"b{n}", -1.0) for n in range(9))]
    assert "by more than 2.8 deviations" in separation_refusal(many, pixels, ["cka"])


@pytest.mark.parametrize(
    ("names", "kind"),
    [
        (["clip_l336", "siglip"], "language"),
        (["clip_l336", "dinov2_l"], "families"),
        (["mine", "yours"], "families"),
        (["dinov2_l", "dinov2_b"], "random"),
    ],
)
def test_a_pool_is_like_replayed_pools_of_its_own_kind(names: list[str], kind: str) -> None:
    assert _kind([row(name, gw=0.1) for name in names]) == kind


def test_a_rule_whose_score_was_not_resampled_says_that_the_choice_of_pairs_does_not_count() -> None:
    rows = [evidence_row(name, value) for name, value in {"a": 0.1, "b": 0.9}.items()]
    assert any("has no deviation over subsamples" in note for note in only(rows, Question(fed="pooled")).warnings)
    resampled = [
        replace(
            each,
            scores={
                name: replace(one, subsamples=(one.value, 0.9 * one.value), n_pairs=10, n_subsampled=5)
                for name, one in each.scores.items()
            },
        )
        for each in rows
    ]
    notes = only(resampled, Question(fed="pooled")).warnings
    assert not any("has no deviation over subsamples" in note for note in notes)


def test_an_unknown_figure_counts_as_the_middle_and_is_told() -> None:
    known = [evidence_row(name, value) for name, value in {"a": 0.1, "b": 0.9, "c": 0.5}.items()]
    name = record().world("patches").rule.needs[0]
    mine = evidence_row("mine", 0.7)
    mine = replace(mine, scores={key: each for key, each in mine.scores.items() if key != name})
    llm = only([*known, mine], Question(fed="patches"))
    (told,) = (line for line in llm.warnings if line.startswith(f"'{name}' is not known for mine, so the middle rank"))
    assert f"state it: {name}=..." in told
    n = len(record().world("patches").rule.needs)
    assert llm.ranked("mine").value == pytest.approx((0.5 + (n - 1) * 2 / 3) / n)


def test_a_budget_shortens_the_list_and_one_that_nobody_meets_gives_a_partial_answer() -> None:
    rows = [row("big", gw=0.1), row("small", gw=0.2)]
    costs = {"big": CandidateCost("big", parameters=10**9), "small": CandidateCost("small", parameters=10**6)}
    (ranking,) = rank_rows(rows, Question(selection="gw", budget=Budget(parameters=10**7)), costs)
    assert ranking.llms[0].pick == "small"
    (ranking,) = rank_rows(rows, Question(selection="gw", budget=Budget(parameters=10**5)), costs)
    assert ranking.llms[0].refusal == "no candidate meets the budget"
    assert [each.row.encoder for each in ranking.llms[0].encoders] == ["big", "small"]


def test_an_order_is_proven_if_the_intervals_do_not_overlap() -> None:
    llm = only([row("a", gw=1.0), row("b", gw=1.05), row("c", gw=2.0)])  # each from 0.9 of its value
    assert (llm.proven_orders.n_proven, llm.proven_orders.n_orders) == (2, 3)
    assert only([row("a", cka=0.1), row("b", cka=0.2)]).proven_orders is None


def test_proven_orders_leave_controls_out() -> None:
    llm = only([row("a", gw=1.0), row("b", gw=2.0), row("pixels", control=True, gw=4.0)])
    assert (llm.proven_orders.n_proven, llm.proven_orders.n_orders) == (1, 1)


def test_llms_that_tie_all_encoders_have_no_agreement() -> None:
    (ranking,) = ranked([row(e, llm, gw=1) for e in "abc" for llm in "xy"])
    assert ranking.agreements == ()


def test_a_pool_without_controls_says_so() -> None:
    llm = only([row("a", gw=0.3), row("b", gw=0.2)])
    assert llm.pick == "b"
    assert any("no control" in warning for warning in llm.warnings)


def test_a_pool_of_controls_picks_nothing() -> None:
    assert only([row("pixels", control=True, gw=0.3)]).pick is None


def test_encoders_are_ordered_within_one_llm_only() -> None:
    (ranking,) = ranked(
        [row(e, llm, gw=g) for e, llm, g in [("a", "x", 1), ("b", "x", 2), ("a", "y", 20), ("b", "y", 10)]]
    )
    assert [[s.row.encoder for s in llm.encoders] for llm in ranking.llms] == [["a", "b"], ["b", "a"]]


def test_other_probes_and_recipes_are_other_rankings() -> None:
    other = row("a", gw=1.0)
    rankings = ranked([row("b", gw=2.0), type(other)(header("encoder", "a", probe="q-1"), other.text, other.scores)])
    assert [ranking.probe for ranking in rankings] == ["p-0", "q-1"]


def test_agreement_of_llms_is_the_rank_correlation_of_gw() -> None:
    values = {"x": [1.0, 2.0, 3.0, 4.0], "y": [1.0, 2.0, 4.0, 3.0]}
    (ranking,) = ranked([row(f"e{i}", llm, gw=v) for llm, vs in values.items() for i, v in enumerate(vs)])
    (agreement,) = ranking.agreements
    assert agreement.n_encoders == 4
    assert agreement.spearman == pytest.approx(1 - 6 * 2 / (4 * 15))
    assert agreement.kendall == pytest.approx(4 / 6)
    for n_encoders in (2, 3):
        few = [row(f"e{i}", llm, gw=v) for llm, vs in values.items() for i, v in enumerate(vs[:n_encoders])]
        assert len(ranked(few)[0].agreements) == (n_encoders == 3)


def test_a_pool_of_mixed_rules_is_flagged_but_not_for_its_controls() -> None:
    rules = ["mean patch", "cls", "pixels", "attention pool", "global average"]
    (warning,) = ranked([row(rule[:3], rule=rule, gw=1.0 + k) for k, rule in enumerate(rules)])[0].warnings
    assert "(attention pool; cls; global average; mean patch; pixels)" in warning
    (warning,) = ranked([row("a", gw=1.0, rule="cls"), row("b", rule="global average, head", gw=2.0)])[0].warnings
    assert "(cls; global average, head)" in warning
    assert not ranked([row("a", gw=1.0), row("b", control=True, rule="pixels", gw=2.0)])[0].warnings


def test_a_selection_that_is_no_score_is_refused_in_one_line() -> None:
    with pytest.raises(VlmatchError, match="selection=ridge is neither evidence nor paper nor a score"):
        only([row("a", gw=0.1, ridge_r2=0.2), row("b", gw=0.2, ridge_r2=0.1)], Question(selection="ridge"))


def test_equal_means_of_ranks_are_equal_whatever_their_last_digits() -> None:
    ranks = {"a": (5, 1), "b": (4, 2), "c": (3, 0), "d": (2, 3), "e": (1, 4), "f": (0, 5)}
    rows = [row(name, one=float(one), other=float(other)) for name, (one, other) in ranks.items()]
    assert np.mean([1.0, 0.2]) != np.mean([0.8, 0.4])
    assert best_by(("one", "other"), rows) == ("a", "b")
    rule = ChosenRule(("one", "other"), "both", record().world("pooled"), "random", calibrated=False)
    assert [each.encoder for each in standings(rule, rows)[0]] == ["a", "b", "d", "e", "f", "c"]
