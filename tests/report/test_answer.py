"""The answer: trainings in `results` stand beside the scores, in the terminal and in the report."""

from dataclasses import replace
from pathlib import Path

import pytest

from made_results import result
from made_rows import row
from vlmatch import paths
from vlmatch.errors import VlmatchError
from vlmatch.jobs import PairStatus
from vlmatch.ranking import Question
from vlmatch.report.answer import PoolRanking, answer
from vlmatch.results import write
from vlmatch.scores.scored import LeftOut

ENCODERS = {name: 0.4 - 0.05 * place for place, name in enumerate("abcdefg")}


def answered(tmp_path: Path) -> str:
    """Answer with GW and CKA that equal the truth of seven encoders; returns the page."""
    rows = [row(name, gw=truth, cka=truth) for name, truth in ENCODERS.items()]
    ranking = PoolRanking.of(rows, Question(selection="cka"), results=[tmp_path / "results"])
    report = answer(ranking, table=tmp_path / "ranking.csv", report=tmp_path / "report.html")
    assert report == tmp_path / "report.html"
    return report.read_text()


def test_trainings_stand_beside_the_scores(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for name, truth in ENCODERS.items():
        write(tmp_path / "results", result(name, truth))
    page = answered(tmp_path)
    printed = capsys.readouterr().out
    assert "truth (recipe embedded (version 1), llm, data vlm_a, 1 seed): Spearman over 7 encoders" in printed
    assert "GW -1.00, CKA 1.00" in printed
    assert "orders the encoders the wrong way round" in page


def test_words_of_the_user_are_printed_as_they_are(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    lacking = {"mine": LeftOut("no entry '[/x]' in [bold]", 1, {})}
    rows = [row(name, cka=truth) for name, truth in ENCODERS.items()]
    titled = [
        replace(each, scores={"cka": replace(each.scores["cka"], title="CKA [/v2]")}, left_out=lacking) for each in rows
    ]
    failures = [PairStatus("[/h]", "llm", "[/failed]", "it says :cat: [/y]")]
    ranking = PoolRanking.of(titled, Question(selection="cka"), failures=failures)
    report = tmp_path / "out[v2]:cat:" / "report.html"
    assert answer(ranking, report=report, full=True) == report
    printed = capsys.readouterr().out
    assert f"report: {report}\n" in printed
    assert "the score mine is left out: no entry '[/x]' in [bold]\n" in printed
    assert "CKA [/v2] ↑" in printed
    assert "[/failed]: [/h] x llm: it says :cat: [/y]\n" in printed


def test_without_trainings_nothing_is_said_of_truth(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    page = answered(tmp_path)
    assert "truth (" not in capsys.readouterr().out
    assert "Scores against the truth" not in page


def test_a_damaged_result_is_told_after_the_ranking(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "results").mkdir()
    (tmp_path / "results" / "a-0.json").write_text("{")
    with pytest.raises(VlmatchError, match=r"a-0\.json' can't be read"):
        answered(tmp_path)
    assert "shortlist for llm: " in capsys.readouterr().out


def test_the_truth_is_of_the_version_asked_for() -> None:
    names = ("efficientnet_lite0", "mobilenetv2", "craft_vgg16_bn", "hed_vgg16")
    rows = [row(name, "smollm2", gw=place, cka=-place) for place, name in enumerate(names)]
    ranking = PoolRanking.of(rows, Question(selection="gw"), results=[paths.results()])
    for version, truth in ((3, 0.216), (2, 0.210)):
        (evidence,) = replace(ranking, truth=version).evidence
        assert evidence.comparison.by_encoder["efficientnet_lite0"].mean == pytest.approx(truth, abs=5e-4)
    assert ranking.evidence[0].comparison.definition.version == 3
