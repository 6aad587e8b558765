"""The CSV files of an answer, as spreadsheets read them."""

import pytest

from vlmatch.report.spreadsheet import harmless


@pytest.mark.parametrize("text", ["=1+1", "+1", "-1+1", "@SUM(1)", "\t=1", "\r=1"])
def test_a_text_that_looks_like_a_formula_gets_an_apostrophe(text: str) -> None:
    assert harmless(text) == f"'{text}"


@pytest.mark.parametrize("value", ["gw", "a=b", "-", "", -1.5, 3, None, True])
def test_everything_else_stays_as_it_is(value: object) -> None:
    assert harmless(value) is value
