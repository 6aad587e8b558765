"""The shortlist: who is on it, who shares a place, and how the choice of pairs widens the margin."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from vlmatch.errors import VlmatchError
from vlmatch.evidence.record import record
from vlmatch.ranking.against import versus
from vlmatch.ranking.shortlist import QUANTILE, ROUNDING, Standing, places, shortlist

VALUES = st.lists(st.floats(0, 1), min_size=1, max_size=12).map(lambda values: sorted(values, reverse=True))


def standing(values: list[float]) -> list[Standing]:
    return [Standing(f"e{place}", value) for place, value in enumerate(values)]


@given(VALUES, st.floats(0, 1), st.floats(0, 1))
def test_a_wider_margin_never_shortens_the_list(values: list[float], one: float, other: float) -> None:
    lengths = [
        sum(place == 1 for place in places(standing(values), margin)) for margin in (min(one, other), max(one, other))
    ]
    assert lengths[0] <= lengths[1]


@given(VALUES, st.floats(0, 1))
def test_a_place_counts_the_candidates_ahead_and_members_of_a_group_lie_within_the_margin(
    values: list[float], margin: float
) -> None:
    found = places(standing(values), margin)
    for index, place in enumerate(found):
        assert place <= index + 1
        assert values[place - 1] - values[index] <= margin + ROUNDING
        assert place == 1 or values[0] - values[index] > margin + ROUNDING


def test_candidates_that_can_not_be_told_apart_share_a_place() -> None:
    assert places(standing([0.9, 0.85, 0.6, 0.58, 0.1]), 0.1) == [1, 1, 3, 3, 5]


def test_what_the_pairs_add_is_put_on_top_of_the_margin() -> None:
    first = Standing("a", 0.9, (0.9, 0.9, 0.9))
    shaky = Standing("b", 0.7, (0.6, 0.7, 0.8))
    deviation = shaky.deviation_from(first)
    assert deviation == pytest.approx(np.std([0.3, 0.2, 0.1], ddof=1))
    assert not Standing("b", 0.7).reaches(first, 0.15)
    assert shaky.reaches(first, 0.15) == (np.hypot(0.15, QUANTILE * deviation) >= 0.2)
    assert shaky.reaches(first, 0.15)


def test_candidates_that_move_together_add_no_deviation() -> None:
    one, other = Standing("a", 0.9, (0.8, 0.9, 1.0)), Standing("b", 0.7, (0.6, 0.7, 0.8))
    assert other.deviation_from(one) == pytest.approx(0)


def test_a_rule_without_a_calibration_lists_its_first_alone() -> None:
    listed = shortlist(standing([0.9, 0.9, 0.1]), None)
    assert (listed.encoders, listed.calibration) == (("e0",), None)


def test_a_candidate_is_better_or_worse_only_beyond_the_margin() -> None:
    found = versus("e1", standing([0.9, 0.6, 0.5, 0.2]), 0.25)
    assert [(each.encoder, each.judgement) for each in found] == [("e0", "better"), ("e2", "unclear"), ("e3", "worse")]


def test_a_distance_of_just_the_margin_is_one_of_those_that_were_in_order() -> None:
    for margin in (0.25, 5 / 24, 0.2083):  # the record holds 5/24 as 0.2083
        found = versus("e1", standing([0.9, 0.9 - 5 / 24, 0.9 - 5 / 24 - 0.25]), margin)
        assert [each.judgement for each in found] == ["better" if margin < 0.25 else "unclear", "worse"]


@pytest.mark.parametrize(("fed", "kind", "n"), [("pooled", "random", 4), ("patches", "families", 5)])
def test_the_list_reaches_the_candidate_at_the_margin_though_the_record_rounds_it(fed: str, kind: str, n: int) -> None:
    world = record().world(fed)
    calibration = world.calibration(kind, n)
    step = 1 / (2 * len(world.rule.needs) * (n - 1))  # between two values of the rule
    exact = round(calibration.margin / step) * step
    assert calibration.margin < exact
    assert shortlist(standing([1, 1 - exact, 1 - exact - step]), calibration).encoders == ("e0", "e1")


def test_without_a_margin_nothing_is_better() -> None:
    assert {each.judgement for each in versus("e0", standing([0.9, 0.1]), None)} == {"unclear"}


def test_an_encoder_that_is_not_in_the_pool_is_refused_in_one_line() -> None:
    with pytest.raises(VlmatchError, match=r"answer\.against=mine is not among the candidates \(e0, e1\); add it"):
        versus("mine", standing([0.9, 0.1]), 0.1)
