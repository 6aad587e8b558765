"""The answer: trainings in `results` stand beside the scores, in the terminal and in the report."""

from pathlib import Path

import pytest
from omegaconf import DictConfig

from made_results import result
from made_rows import row
from vlmatch.configs import composed
from vlmatch.errors import VlmatchError
from vlmatch.report.answer import answer
from vlmatch.results import write

ENCODERS = {name: 0.4 - 0.05 * place for place, name in enumerate("abcdefg")}


@pytest.fixture
def config(tmp_path: Path) -> DictConfig:
    return composed(f"outputs={tmp_path}/outputs", f"store={tmp_path}/store", f"++results={tmp_path}/results")


def rows():
    return [row(name, gw=truth, cka=truth) for name, truth in ENCODERS.items()]


def test_trainings_stand_beside_the_scores(
    config: DictConfig, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for name, truth in ENCODERS.items():
        write(tmp_path / "results", result(name, truth))
    report = answer(config, rows())
    printed = capsys.readouterr().out
    assert "truth (recipe embedded (version 1), llm, data vlm_a, 1 seed): Spearman over 7 encoders" in printed
    assert "GW -1.00, CKA 1.00" in printed
    assert "orders the encoders the wrong way round" in report.read_text()


def test_without_trainings_nothing_is_said_of_truth(config: DictConfig, capsys: pytest.CaptureFixture[str]) -> None:
    report = answer(config, rows())
    assert "truth (" not in capsys.readouterr().out
    assert "Scores against the truth" not in report.read_text()


def test_a_damaged_result_is_told_after_the_ranking(
    config: DictConfig, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "results").mkdir()
    (tmp_path / "results" / "a-0.json").write_text("{")
    with pytest.raises(VlmatchError, match=r"a-0\.json' can't be read"):
        answer(config, rows())
    assert "pick for llm: g" in capsys.readouterr().out
