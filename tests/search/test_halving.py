"""Successive halving: the best wins, and no more is trained than the budget pays for."""

from functools import partial

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vlmatch.errors import VlmatchError
from vlmatch.report.table import terminal
from vlmatch.search.halving import Ladder, Part, Race
from vlmatch.search.spending import Spending, runs_of
from vlmatch.search.words import race_table

EIGHTHS = Ladder((0.125, 0.25, 0.5, 1.0), 0.5, continues=True)
ANEW = Ladder((0.125, 0.25, 0.5, 1.0), 0.5, continues=False)


def raced(race: Race, spending: Spending, values: dict[str, float | None], seconds: float = 3600.0) -> list[Part]:
    """Run a race in which an encoder has one value at every rung, and a whole training takes `seconds`."""
    parts: list[Part] = []
    while step := race.next_step(parts, partial(spending.affords, parts), trial=spending.needs_trial(parts)):
        failure = "it failed" if values[step.encoder] is None else None
        parts.append(Part(step.encoder, step.rung, 1, values[step.encoder], step.cost, step.cost * seconds, failure))
        assert len(parts) < 1000
    return parts


def trained(parts: list[Part]) -> list[str]:
    return [f"{part.encoder}{part.rung}" for part in parts]


def test_half_of_the_encoders_go_on_from_each_rung_and_the_best_wins() -> None:
    race = Race(tuple("abcdefgh"), EIGHTHS)
    parts = raced(race, Spending(runs=2.5), dict(zip("abcdefgh", (1, 8, 2, 7, 3, 6, 4, 5), strict=True)))
    assert " ".join(trained(parts)) == "a0 b0 c0 d0 e0 f0 g0 h0 b1 d1 f1 h1 b2 d2 b3"
    assert runs_of(parts) == 2.5 == EIGHTHS.whole(8, 0.5)
    assert race.standing(parts) == (3, ["b"])


def test_the_reason_of_a_failure_stands_in_the_table_as_it_is(capsys: pytest.CaptureFixture[str]) -> None:
    race = Race(("a", "b"), EIGHTHS)
    parts = [Part("a", 0, 1, 0.5, 0.1, 1.0, None), Part("b", 0, 1, None, 0.1, 1.0, "no file [/x] in [bold]")]
    terminal().print(race_table(race, parts))
    assert "failed: no file [/x] in [bold]" in capsys.readouterr().out


def test_the_lowest_wins_where_lower_is_better_and_the_list_decides_ties() -> None:
    race = Race(tuple("abcd"), EIGHTHS, higher=False)
    parts = raced(race, Spending(runs=9), {"a": 2.0, "b": 1.0, "c": 1.0, "d": 3.0})
    assert race.standing(parts)[1] == ["b"]
    assert trained(parts)[4:] == ["b1", "c1", "b3"]


@pytest.mark.parametrize(("runs", "first"), [(1, 1), (1.5, 4), (2.5, 8), (2.49, 7), (100, 12)])
def test_so_many_encoders_start_as_the_budget_brings_to_the_end(runs: float, first: int) -> None:
    parts = raced(Race(tuple("abcdefghijkl"), EIGHTHS), Spending(runs=runs), dict.fromkeys("abcdefghijkl", 1.0))
    assert len({part.encoder for part in parts}) == first
    assert runs_of(parts) == EIGHTHS.whole(first, 0.5) <= runs


def test_trainings_that_begin_anew_cost_all_their_steps_and_a_single_one_skips_rungs() -> None:
    parts = raced(Race(tuple("ab"), ANEW), Spending(runs=2), {"a": 1.0, "b": 2.0})
    assert trained(parts) == ["a0", "b0", "b3"]
    assert runs_of(parts) == 1.25
    assert trained(raced(Race(("a", "b"), ANEW), Spending(runs=1), {"a": 1.0, "b": 2.0})) == ["a3"]


def test_a_race_keeps_as_many_as_the_budget_pays_for() -> None:
    names = tuple("abcdefgh")
    race, values = Race(names, Ladder(EIGHTHS.rungs, None, continues=True)), dict(zip(names, range(8), strict=True))
    plans = {runs: raced(race, Spending(runs=runs), values) for runs in (1, 2.5, 4, 6, 8, 99)}
    counts = {runs: [sum(part.rung == rung for part in parts) for rung in range(4)] for runs, parts in plans.items()}
    assert counts[8] == counts[99] == [0, 0, 0, 8]  # all to the end: nothing is compared on the way
    assert counts[1] == [0, 0, 0, 1]
    assert counts[2.5] == [8, 4, 2, 1]
    for runs, parts in plans.items():
        assert runs_of(parts) <= runs
        assert [level.arms for level in race.plan(Spending(runs=runs).affords_runs)] == [n for n in counts[runs] if n]
    assert counts[2.5] < counts[4] < counts[6] or counts[4][3] < counts[6][3]
    anew = Race(names, Ladder(EIGHTHS.rungs, None, continues=False))
    assert trained(raced(anew, Spending(runs=8), values)) == [f"{name}3" for name in names]


def test_a_failed_training_is_out_of_the_race_and_the_others_go_on() -> None:
    race = Race(tuple("abcd"), EIGHTHS)
    parts = raced(race, Spending(runs=1.5), {"a": None, "b": 1.0, "c": 2.0, "d": None})
    assert race.standing(parts) == (3, ["c"])
    assert trained(parts) == ["a0", "b0", "c0", "d0", "c3"]
    assert race.standing(raced(race, Spending(runs=1.5), dict.fromkeys("abcd"))) == (-1, [])


def test_hours_are_counted_by_what_trainings_took() -> None:
    race, values = Race(tuple("abcdefgh"), EIGHTHS), dict(zip("abcdefgh", range(8), strict=True))
    parts = raced(race, Spending(hours=3.0), values, seconds=2 * 3600)
    assert sum(part.rung == 0 for part in parts) == 4  # 1.5 runs of 2 hours
    assert race.standing(parts) == (3, ["d"])
    assert raced(race, Spending(gpu_hours=12.0, gpus=4), values, seconds=2 * 3600) == parts


def test_hours_for_less_than_one_training_are_told_after_the_first_part() -> None:
    spending, first = Spending(gpu_hours=4.0, gpus=2), Part("a", 0, 1, 0.5, 0.125, 1800.0)
    with pytest.raises(VlmatchError, match=r"search\.gpu_hours=4\.0 .* takes about 8, "):
        spending.require_one_run([first])
    Spending(hours=4.0).require_one_run([first])


def test_a_race_that_slows_down_stops_before_its_budget_is_spent() -> None:
    race, spending = Race(("a", "b"), EIGHTHS), Spending(hours=1.5)
    parts = [Part("a", 0, 1, 1.0, 0.125, 450.0)]
    step = race.next_step(parts, partial(spending.affords, parts))
    assert step is not None
    assert (step.encoder, step.rung) == ("b", 0)
    parts.append(Part("b", 0, 1, 2.0, 0.125, 4500.0))
    assert race.next_step(parts, partial(spending.affords, parts)) is None
    assert race.standing(parts) == (0, ["b", "a"])


def test_a_larger_budget_changes_rungs_that_have_not_begun() -> None:
    race, values = Race(tuple("abcd"), EIGHTHS), {"a": 1.0, "b": 2.0, "c": 3.0, "d": 4.0}
    parts = [part for part in raced(race, Spending(runs=1.375), values) if part.rung < 1]
    assert trained(parts) == ["a0", "b0", "c0"]
    enough = Spending(runs=9)
    step = race.next_step(parts, partial(enough.affords, parts))
    assert step is not None
    assert (step.encoder, step.rung) == ("d", 0)
    whole = raced(race, Spending(runs=1.375), values)
    assert trained(whole) == ["a0", "b0", "c0", "c1", "b1", "c3"]
    step = race.next_step(whole[:4], partial(enough.affords, whole[:4]))
    assert step is not None
    assert (step.encoder, step.rung) == ("b", 1)


@given(
    st.lists(st.one_of(st.none(), st.floats(-1, 1)), min_size=1, max_size=20),
    st.floats(1, 30),
    st.sampled_from(
        [EIGHTHS, ANEW, Ladder((0.1, 0.3, 1.0), 0.34, continues=True), Ladder((0.25, 1.0), None, continues=True)]
    ),
)
def test_a_budget_is_never_exceeded_and_some_encoder_gets_to_the_end(
    values: list[float | None], runs: float, ladder: Ladder
) -> None:
    by_name = {f"e{number}": value for number, value in enumerate(values)}
    race = Race(tuple(by_name), ladder)
    parts = raced(race, Spending(runs=runs), by_name)
    assert runs_of(parts) <= runs + 1e-9
    assert len({(part.encoder, part.rung) for part in parts}) == len(parts)
    started = [by_name[part.encoder] for part in parts]
    if None not in started:
        rung, order = race.standing(parts)
        assert rung == ladder.last
        assert by_name[order[0]] == max(started)
