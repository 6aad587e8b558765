"""Limits and figures in the forms that people write, and one line for those that can't be read."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vlmatch.configs import composed
from vlmatch.errors import VlmatchError
from vlmatch.settings.budget import BudgetSettings, amount, short
from vlmatch.settings.command import Settings
from vlmatch.settings.tasks import TaskSettings


@pytest.mark.parametrize(
    ("written", "number"),
    [
        ("300M", 3e8),
        ("300 m", 3e8),
        ("50G", 5e10),
        ("1.5B", 1.5e9),
        (".5k", 500),
        ("2T", 2e12),
        ("576", 576),
        (576, 576),
        (3e8, 3e8),
    ],
)
def test_an_amount_is_read_as_people_write_it(written: object, number: float) -> None:
    assert amount(written) == number


@pytest.mark.parametrize(
    "written", ["abc", "", "M", "3X", "-3M", -3, math.nan, math.inf, True, None, [3], "3M4", "1e9e9"]
)
def test_anything_else_is_no_amount(written: object) -> None:
    with pytest.raises(ValueError, match="is not an amount"):
        amount(written)


@given(st.floats(1e-3, 1e14))
def test_what_is_shown_short_reads_back_to_four_digits(number: float) -> None:
    assert amount(short(number)) == pytest.approx(number, rel=5.1e-4)


@pytest.mark.parametrize(
    ("override", "parts"),
    [
        ("budget.params=abc", ["budget.params='abc'", "such as 300M"]),
        ("budget.params=0", ["budget.params=0", "a number of parameters"]),
        ("budget.tokens=true", ["budget.tokens=true", "a number of tokens"]),
        ("budget.flops=50", ["budget.flops=50", "1M or more", "such as 50G"]),
        ("budget.licence=MIT", ["budget.licence='MIT'", "'commercial'"]),
        ("+budget.parameters=3M", ["budget.parameters='3M' is not a key", "params"]),
        ("+costs.mine.flops=fast", ["costs.mine.flops='fast'", "such as 50G"]),
        ("+costs.mine.commercial=maybe", ["costs.mine.commercial='maybe'", "true or false"]),
        ("+costs.mine.speed=3", ["costs.mine.speed=3 is not a key of costs.mine"]),
        ("costs=3", ["costs=3", "a mapping"]),
    ],
)
def test_a_wrong_limit_is_one_line_with_its_key_its_value_and_what_is_wanted(override: str, parts: list[str]) -> None:
    with pytest.raises(VlmatchError) as caught:
        Settings[TaskSettings].read(composed(override))
    assert all(part in str(caught.value) for part in parts), caught.value
    assert "\n" not in str(caught.value)


def test_limits_stay_as_they_were_written() -> None:
    settings = Settings[TaskSettings].read(composed("budget.params=300M", "+costs.mine.flops=17.6G"))
    assert settings.budget.params == "300M"
    assert settings.costs["mine"].flops == "17.6G"
    assert BudgetSettings.of("budget", {"tokens": 576}).plain() == {"tokens": 576}


def test_on_the_command_line_it_ends_with_2(cli) -> None:
    code, _, errors = cli("task=rank", "budget.params=abc")
    assert code == 2
    assert errors.strip() == "vlmatch: budget.params='abc'; wanted a number of parameters, such as 300M"
