"""The paper's baselines beside what a pool gives: absolute values, and a wrong sign is said."""

import io
from pathlib import Path

import numpy as np
import pytest
from rich.console import Console
from scipy import stats

from made_results import result
from made_rows import row
from vlmatch.ranking import Question
from vlmatch.report.answer import PoolRanking, answer
from vlmatch.report.paper import PAPER_SAYS, baselines, difference, paper_table
from vlmatch.results import write

TRUTHS = {"a": 0.1, "b": 0.2, "c": 0.4, "d": 0.3, "siglip": 0.6}
GW = {"a": 0.1, "b": 0.3, "c": 0.2, "d": 0.4, "siglip": 0.5}  # the better the VLM, the higher: the wrong sign


@pytest.fixture
def ranking(tmp_path: Path) -> PoolRanking:
    for name, truth in TRUTHS.items():
        write(tmp_path / "results", result(name, truth))
    rows = [row(name, gw=GW[name], rsa=TRUTHS[name]) for name in TRUTHS]
    return PoolRanking.of(rows, Question(selection="paper"), results=[tmp_path / "results"])


def test_what_you_get_is_the_correlation_with_your_trainings(ranking: PoolRanking) -> None:
    (llm,) = ranking.rankings[0].llms
    found = {each.name: each for each in baselines(llm, ranking.evidence)}
    truths, values = (np.array([each[name] for name in TRUTHS]) for each in (TRUTHS, GW))
    assert found["gw"].here.pearson == pytest.approx(abs(stats.pearsonr(values, truths).statistic))
    assert found["gw"].here.spearman == pytest.approx(abs(stats.spearmanr(values, truths).statistic))
    assert found["gw"].here.r2 == pytest.approx(stats.linregress(values, truths).rvalue ** 2)
    assert found["gw"].here.wrong_sign
    assert not found["rsa"].here.wrong_sign
    assert found["gw"].picks == ("a",)
    assert found["zero_shot"].picks == ()
    assert str(found["zero_shot"].here) == "- / - / -"


def test_the_table_says_that_the_pool_is_another_one(ranking: PoolRanking) -> None:
    (llm,) = ranking.rankings[0].llms
    console = Console(file=io.StringIO(), width=200)
    console.print(paper_table(llm, ranking.evidence))
    printed = console.file.getvalue()
    assert "(wrong sign)" in printed
    assert all(str(each) in printed for each in PAPER_SAYS.values())
    assert "Yours has 5; 1 of them are known to be in the paper's" in difference(llm)


def test_the_terminal_shows_it_where_gw_orders_the_pool(
    ranking: PoolRanking, capsys: pytest.CaptureFixture[str]
) -> None:
    answer(ranking, by="label")
    printed = capsys.readouterr().out
    assert "the paper's baselines, for llm" in printed
    assert "answer.by=label: the pairs have no labels; give them in a column `label`" in printed
