"""A budget: who meets it, what it costs, and a partial answer where nobody meets it."""

import doctest
import re
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vlmatch.costs import budget as module
from vlmatch.costs import restriction
from vlmatch.costs.budget import Budget
from vlmatch.costs.candidate import CandidateCost, cost_of
from vlmatch.costs.pareto import pareto_front, priced
from vlmatch.costs.restriction import Restriction, restricted
from vlmatch.errors import VlmatchError
from vlmatch.settings.budget import CostSettings, amount


def candidate(name: str, parameters: int | None = 10, gflops: float | None = 1.0, **others: Any) -> CandidateCost:
    licence = {"licence": "MIT", "commercial_use": "yes", "tokens": 49, **others}
    return CandidateCost(name, parameters, gflops, **licence)


POOL = {
    "best": candidate("best", 90_000_000, 35.0, tokens=576),
    "good": candidate("good", 80_000_000, 30.0, licence="CC-BY-NC-4.0", commercial_use="no"),
    "fair": candidate("fair", 20_000_000, 4.0),
    "own": candidate("own", 5_000_000, None, licence=None, commercial_use="unclear"),
    "poor": candidate("poor", 1_000_000, 0.5, licence="AGPL-3.0", commercial_use="unclear"),
}
VALUES = {"best": 0.9, "good": 0.8, "fair": 0.6, "own": 0.5, "poor": 0.1}


def within(**limits: Any) -> Restriction:
    return restricted(Budget.of(limits), VALUES, POOL)


def reasons(budget: Budget, cost: CandidateCost) -> str:
    """Why an encoder is kept out."""
    return "; ".join(map(str, budget.misses(cost)))


def test_limits_are_met_up_to_the_limit_itself() -> None:
    budget = Budget.of({"params": "20M", "tokens": 49, "flops": "4G", "licence": "commercial"})
    assert not budget.misses(POOL["fair"])
    assert reasons(Budget.of({"params": 19_999_999}), POOL["fair"]) == "20M parameters"
    assert reasons(budget, POOL["best"]) == "90M parameters; 576 tokens; 35G FLOPs"
    assert str(budget) == "budget.params=20M, budget.tokens=49, budget.flops=4G, budget.licence=commercial"


def test_without_limits_everybody_is_inside_and_nothing_is_said() -> None:
    assert Budget.of(None) == Budget.of({}) == Budget()
    assert list(within().inside) == list(VALUES)
    assert within().kept_out == []


def test_a_budget_says_what_it_costs_and_who_fell_out() -> None:
    outcome = within(params="50M")
    assert (outcome.best, [each.encoder for each in outcome.ahead]) == ("fair", ["best", "good"])
    assert outcome.meets == "3 of 5 candidates"
    assert outcome.price == (
        "the budget costs 0.30 of the rule's value: fair, the best inside, has 0.60, and best, the best outside, 0.90"
    )
    assert outcome.kept_out == ["kept out, and ahead of fair: best (90M parameters), good (80M parameters)"]


def test_a_budget_that_keeps_the_best_costs_nothing() -> None:
    outcome = within(licence="commercial")
    assert (outcome.best, outcome.ahead) == ("best", ())
    assert outcome.price == "the budget costs nothing: no candidate outside of it is better than best"
    assert "good (licence CC-BY-NC-4.0 forbids commercial use)" in outcome.kept_out[0]


def test_values_that_differ_in_their_last_bits_are_equal() -> None:
    values = {"best": 0.1 + 0.2, "fair": 0.3}
    assert values["best"] > values["fair"]
    outcome = restricted(Budget.of({"params": "50M"}), values, POOL)
    assert (outcome.best, outcome.ahead) == ("fair", ())
    assert pareto_front(priced(values, POOL, ["flops"])) == ("fair",)


def test_candidates_of_equal_value_stay_in_the_order_of_the_rule() -> None:
    outcome = restricted(Budget(), {"poor": 0.75, "best": 0.75, "fair": 0.8}, POOL)
    assert list(outcome.inside) == ["fair", "poor", "best"]


def test_what_is_not_known_keeps_a_candidate_out_and_the_line_says_how_to_state_it() -> None:
    budget = Budget.of({"flops": "100G", "licence": "commercial"})
    reason = reasons(budget, POOL["own"])
    assert "its FLOPs are not known" in reason
    assert "its licence is not known" in reason
    stated = dict(re.findall(r"\+costs\.own\.(\w+)=(\w[\w.]*)", reason))
    assert stated.keys() == {"flops", "licence"}
    assert "+costs.poor.commercial=true" in reasons(budget, POOL["poor"])
    assert "AGPL-3.0" in reasons(budget, POOL["poor"])
    lines = restricted(budget, VALUES, POOL).kept_out
    assert "+costs.own.flops=" in lines[-1]
    assert "+costs.poor.commercial=true" in lines[-1]


def test_a_licence_that_allows_commercial_use_under_conditions_is_not_called_unclear() -> None:
    reason = reasons(Budget.of({"licence": "commercial"}), candidate("a", licence="GPL-3.0", commercial_use="terms"))
    assert reason.startswith("commercial use is allowed under conditions that you have to read (licence GPL-3.0); if")
    assert "+costs.a.commercial=true" in reason


def test_a_budget_that_nobody_meets_says_which_limit_keeps_out_whom_and_who_is_nearest() -> None:
    outcome = within(params="900K", licence="commercial")
    assert (outcome.best, outcome.inside) == (None, {})
    assert len(outcome.ahead) == 5
    assert outcome.nearest.encoder == "fair", "the others miss two limits, or miss by more"
    assert outcome.meets == "none of the 5 candidates, so nothing is recommended"
    assert outcome.price == "the nearest is fair: budget.params=20M would let it in"
    text = "\n".join(outcome.kept_out)
    assert "kept out by budget.params: poor (1M parameters), own (5M parameters)" in text
    assert "kept out by budget.licence: good (licence CC-BY-NC-4.0 forbids commercial use)" in text


def test_a_long_line_names_the_first_and_counts_the_rest(monkeypatch: pytest.MonkeyPatch) -> None:
    assert "own (5M parameters)" in within(params="1M").kept_out[0]
    monkeypatch.setattr(restriction, "NAMED", 2)
    assert "ahead of poor: best (90M parameters), good (80M parameters), and 2 more" in within(params="1M").kept_out[0]


@given(
    st.lists(st.tuples(st.integers(1, 10**10), st.floats(1e-3, 1e4), st.floats(0, 1)), min_size=1, max_size=8),
    st.integers(1, 10**10),
    st.floats(1e-3, 1e4),
)
def test_every_candidate_is_on_one_side_and_what_is_said_to_let_the_nearest_in_does(
    pool: list[tuple[int, float, float]], params: int, gflops: float
) -> None:
    costs = {str(place): candidate(str(place), size, flops) for place, (size, flops, _) in enumerate(pool)}
    values = {str(place): value for place, (_, _, value) in enumerate(pool)}
    outcome = restricted(Budget(parameters=params, gflops=gflops), values, costs)
    assert set(outcome.inside) == {
        n for n, each in costs.items() if each.parameters <= params and each.gflops <= gflops
    }
    assert {each.encoder for each in outcome.outside} == costs.keys() - outcome.inside.keys()
    assert list(outcome.inside.values()) == sorted(outcome.inside.values(), reverse=True)
    for each in outcome.outside:
        limits = dict(re.findall(r"budget\.(\w+)=(\S+)", each.admits))
        raised = Budget(
            parameters=amount(limits.get("params", params)),
            gflops=amount(limits["flops"]) / 1e9 if "flops" in limits else gflops,
        )
        assert not raised.misses(costs[each.encoder])


def test_a_budget_is_made_from_a_mapping_and_a_typo_is_told() -> None:
    assert Budget.of({"params": "300M", "flops": 5e10}) == Budget(parameters=3e8, gflops=50.0)
    assert Budget.of(Budget(tokens=9)) == Budget(tokens=9)
    with pytest.raises(VlmatchError, match=r"budget\.parms=3 is not a key of budget; did you mean params"):
        Budget.of({"parms": 3})
    with pytest.raises(VlmatchError, match=r"budget='300M'; wanted a mapping"):
        Budget.of("300M")


def test_the_docstrings_example_holds() -> None:
    outcome = doctest.testmod(module)
    assert (outcome.failed, outcome.attempted > 0) == (0, True)


def test_stating_what_is_missing_lets_the_candidate_in(own_header) -> None:
    budget = Budget.of({"params": "100M", "tokens": 576, "flops": "50G", "licence": "commercial"})
    assert budget.misses(cost_of(own_header))
    stated = {"params": "86M", "tokens": 196, "flops": "17.6G", "licence": "MIT"}
    assert not budget.misses(cost_of(own_header, stated=CostSettings.of("costs.mine", stated)))
