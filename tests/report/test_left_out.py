"""Scores that rows lack are told with the reason; a narrow terminal shows no spec sheet."""

import io
from dataclasses import replace

from rich.console import Console

from made_rows import ranked, row
from vlmatch.report.about import left_out
from vlmatch.report.table import number, show
from vlmatch.scores.scored import LeftOut


def lacking(encoder: str, **reasons: str):
    found = row(encoder, gw=0.2, cka=0.5, width=1280.0)
    spec = replace(found.scores["width"], uses=("spec",))
    without = {name: LeftOut(reason, 1, {}) for name, reason in reasons.items()}
    return replace(found, scores={**found.scores, "width": spec}, left_out=without)


def test_each_reason_is_one_line_that_names_the_encoders_unless_all() -> None:
    rows = [lacking("a", flops="not known", mutual_nn="8 pairs"), lacking("b", flops="not known"), row("c", gw=0.1)]
    assert left_out(rows) == [
        "the score flops is left out: not known (a, b)",
        "the score mutual_nn is left out: 8 pairs (a)",
    ]
    assert left_out(rows[:2])[0] == "the score flops is left out: not known"


def shown(width: int) -> str:
    text = io.StringIO()
    rankings = ranked([lacking("a", flops="not known"), lacking("b")])
    show(rankings, console=Console(file=text, width=width), full=True)
    return text.getvalue()


def test_a_narrow_terminal_shows_no_spec_sheet_and_a_wide_one_does() -> None:
    assert "WIDTH" in shown(200)
    assert "1280" in shown(200)
    assert "WIDTH" not in shown(60)
    assert "CKA" in shown(60)
    assert "the score flops is left out" in shown(200)


def test_whole_numbers_have_no_decimals() -> None:
    assert [number(value) for value in (0, 1.0, 1280, 86_567_656, 0.25)] == ["0", "1", "1280", "86.6M", ".2500"]
