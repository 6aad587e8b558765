"""How each number was made: the same words whatever the process has imported."""

import sys
from dataclasses import replace

import pytest

from made_rows import QUESTION, ranked, row
from vlmatch.report.how import Made, made


def of(target: str) -> Made:
    rows = [row("a", gw=0.3), row("b", gw=0.2)]
    scored = [{"gw": replace(each.scores["gw"], settings={"_target_": target})} for each in rows]
    named = [replace(each, scores=scores) for each, scores in zip(rows, scored, strict=True)]
    (ranking,) = ranked(named, QUESTION)
    (found,) = made(ranking.llms[0])
    return found


def test_a_score_is_described_though_its_module_is_not_loaded(monkeypatch: pytest.MonkeyPatch) -> None:
    import vlmatch.scores.cknna

    expected = of("vlmatch.scores.cknna.CKNNA").about
    assert expected.startswith(vlmatch.scores.cknna.CKNNA.__doc__.partition("\n")[0])
    monkeypatch.delitem(sys.modules, "vlmatch.scores.cknna")
    monkeypatch.delattr(vlmatch.scores, "cknna")
    assert of("vlmatch.scores.cknna.CKNNA").about == expected


@pytest.mark.parametrize("target", ["", "subprocess.run", "vlmatch.scores.gone.Gone", "their_scores.Mine"])
def test_what_is_gone_or_may_not_be_imported_has_no_description(target: str) -> None:
    assert of(target).about == ""
