"""Classes that moved: they are where the table says, and what was stored under their first names still counts."""

import pytest

from vlmatch.moved import FIRST_NAMES, to_first_names, to_todays_names
from vlmatch.objects import target_named


@pytest.mark.parametrize("today", FIRST_NAMES)
def test_a_moved_class_is_where_the_table_says(today: str) -> None:
    assert f"{target_named(today).__module__}.{target_named(today).__qualname__}" == today


@pytest.mark.parametrize(("today", "first"), FIRST_NAMES.items())
def test_a_stored_target_is_built_where_the_class_is_today_and_hashed_as_it_was(today: str, first: str) -> None:
    stored = {"encoder": {"_target_": first, "parts": [{"_target_": first, "size": 3}]}}
    current = {"encoder": {"_target_": today, "parts": [{"_target_": today, "size": 3}]}}
    assert to_todays_names(stored) == current
    assert to_first_names(current) == stored
