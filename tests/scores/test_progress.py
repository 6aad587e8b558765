"""Progress of scoring where the output is no terminal; that of embedding is tested with its loop."""

import pytest

from vlmatch.machine import waiting
from vlmatch.scores.progress import ScoringProgress


def test_scoring_says_now_and_then_how_far_it_is(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(waiting, "BETWEEN_LINES", 0.0)
    with ScoringProgress(2) as shown:
        shown.advance()
        shown.advance()
    assert capsys.readouterr().out.splitlines() == [
        "scores: 1 of 2 pairs of an encoder and an LLM",
        "scores: 2 of 2 pairs of an encoder and an LLM",
    ]


def test_nothing_to_score_shows_nothing(capsys: pytest.CaptureFixture[str]) -> None:
    with ScoringProgress(0):
        pass
    assert capsys.readouterr().out == ""
