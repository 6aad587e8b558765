"""Cells of figures: the value, its interval small beside it, and a dash for what is not known."""

from vlmatch.evidence.replay import Figure
from vlmatch.report.cells import UNKNOWN, Cell, correlation_cell, share_cell
from vlmatch.report.words import percent, with_interval


def test_a_share_is_a_whole_percentage_with_its_interval() -> None:
    assert share_cell(Figure(0.138, -0.004, 0.42)) == Cell("14%", "0 to 42", 0.138)
    assert share_cell(Figure(0.138)) == Cell("14%", "", 0.138)
    assert share_cell(Figure(None)) == share_cell(None) == Cell(UNKNOWN)
    assert with_interval(Figure(0.138, -0.004, 0.42)) == "14% [0%, 42%]"


def test_a_share_that_rounds_to_nothing_has_no_sign() -> None:
    assert percent(-0.004) == "0%"


def test_a_correlation_has_two_decimals_with_its_interval() -> None:
    assert correlation_cell(Figure(-0.138, -0.42, 1.0)) == Cell("-.14", "-.42 to 1.00", -0.138)
    assert correlation_cell(Figure(None)) == Cell(UNKNOWN)
