"""The answer: trainings in `results` stand beside the scores, in the terminal and in the report."""

from dataclasses import replace
from pathlib import Path

import pytest

from made_results import result
from made_rows import row
from vlmatch import paths
from vlmatch.errors import VlmatchError
from vlmatch.ranking import Question
from vlmatch.report.answer import PoolRanking, answer
from vlmatch.results import write

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
