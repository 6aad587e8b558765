"""task=report with a truth of the user's: beside the store's ranking, or with a table of scores and no store at all."""

from pathlib import Path

import pandas as pd
import pytest

from made_rows import row
from vlmatch.api.evidence import answered, with_truth
from vlmatch.ranking import Question
from vlmatch.report.answer import PoolRanking
from vlmatch.settings.work import AnswerSettings, StudySettings

ENCODERS = [f"e{place}" for place in range(12)]


def test_scores_and_truth_need_no_store(cli, tmp_path: Path) -> None:
    truth = {"encoder": ENCODERS, "llm": "mine", "benchmark": "gqa", "score": range(12)}
    pd.DataFrame(truth).to_csv(tmp_path / "truth.csv", index=False)
    pd.DataFrame({"encoder": ENCODERS, "cka": range(12)}).to_csv(tmp_path / "scores.csv", index=False)
    given = f"study.truth={tmp_path / 'truth.csv'}", f"study.scores={tmp_path / 'scores.csv'}"
    code, printed, _ = cli("task=report", *given, f"outputs={tmp_path}")
    assert code == 0
    assert "your truth, mine: 12 encoders, gqa, 1 seed" in printed
    assert "CKA" in (tmp_path / "report.html").read_text(encoding="utf-8")
    assert pd.read_csv(tmp_path / "ranking.csv").spearman.tolist() == [1.0]


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (("task=report", "study.scores=s.csv"), "study.scores=s.csv, but study.truth=null; give the truth"),
        (("task=report", "study.names=n.csv"), "study.names=n.csv, but study.truth=null; give the truth"),
        (("task=rank", "pool=store", "study.truth=t.csv", "study.scores=s.csv"), "but only task=report reads it"),
        (("encoder=pixels16", "multirun", "study.truth=t.csv"), "study.truth='t.csv' does not exist"),
    ],
)
def test_what_would_not_be_read_is_one_line(cli, picture_folder: Path, arguments: tuple[str, ...], says: str) -> None:
    code, _, errors = cli("probe=folder", f"probe.path={picture_folder}", *arguments)
    assert code == 2
    assert says in errors
    assert errors.count("\n") == 1


def test_a_truth_of_other_encoders_is_a_note_and_the_ranking_is_kept(tmp_path: Path) -> None:
    truth = {"encoder": ENCODERS, "llm": "mine", "benchmark": "gqa", "score": range(12)}
    pd.DataFrame(truth).to_csv(tmp_path / "truth.csv", index=False)
    ranking = PoolRanking.of([row(name, "mine", cka=place) for place, name in enumerate("abcde")], Question("cka"))
    found = with_truth(ranking, StudySettings(truth=tmp_path / "truth.csv"))
    assert found.rankings == ranking.rankings
    assert found.own.records == ()
    assert "encoders with a truth and a score: 0" in found.own.notes[-1]
    same = with_truth(PoolRanking.of([row(name, "mine", cka=3) for name in ENCODERS], Question("cka")), StudySettings())
    assert same.own is None


def test_the_ranking_that_is_logged_has_the_truth_that_was_asked_for() -> None:
    asked = AnswerSettings(table=None, report=None, fed="pooled", against=None, by=None, full=False, truth=2)
    ranking, report = answered(PoolRanking(()), asked, StudySettings())
    assert (ranking.truth, report) == (2, None)
