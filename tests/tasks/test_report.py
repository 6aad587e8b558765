"""task=report with a truth of the user's: beside the store's ranking, or with a table of scores and no store at all."""

from pathlib import Path

import pandas as pd

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


def test_scores_without_a_truth_are_one_line(cli, tmp_path: Path) -> None:
    code, _, errors = cli("task=report", f"study.scores={tmp_path / 'scores.csv'}")
    assert code == 2
    assert "study.truth=null; give the truth" in errors
