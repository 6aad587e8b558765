"""The CSV files of an answer, as spreadsheets read them."""

import numpy as np
import pytest

from made_rows import ranked, row
from vlmatch.report.spreadsheet import frame, harmless


@pytest.mark.parametrize("text", ["=1+1", "+1", "-1+1", "@SUM(1)", "\t=1", "\r=1"])
def test_a_text_that_looks_like_a_formula_gets_an_apostrophe(text: str) -> None:
    assert harmless(text) == f"'{text}"


@pytest.mark.parametrize("value", ["gw", "a=b", "-", "", -1.5, 3, None, True])
def test_everything_else_stays_as_it_is(value: object) -> None:
    assert harmless(value) is value


def test_a_score_that_some_encoders_lack_has_a_column_without_ranks() -> None:
    table = frame(ranked([row("a", gw=0.3), row("b", gw=0.4, zero_shot=0.5)])).set_index("encoder")
    assert np.isnan(table.zero_shot["a"])
    assert table.zero_shot["b"] == 0.5
    assert "rank_gw" in table
    assert "rank_zero_shot" not in table
