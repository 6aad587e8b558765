"""The study's tables by both versions of the truth."""

import sys
from pathlib import Path

import pytest

from vlmatch.errors import VlmatchError
from vlmatch_study.truth_versions import goodness, main, tables, truths_of


@pytest.fixture
def table(tmp_path: Path) -> Path:
    """A ranking of four encoders by the truth's own order, and by its opposite."""
    path = tmp_path / "ranking.csv"
    names = ("efficientnet_lite0", "mobilenetv2", "craft_vgg16_bn", "hed_vgg16")
    lines = [f"smollm2,{name},{place},{5 - place}" for place, name in enumerate(names, 1)]
    path.write_text("\n".join(["llm,encoder,rank_right,rank_wrong", *lines]))
    return path


@pytest.mark.slow
def test_each_table_has_both_versions(table: Path) -> None:
    lines = list(tables(truths_of("smollm2"), goodness(table, "smollm2")))
    assert sum(line.startswith("| right | ") and " | 1.00 |" in line for line in lines) == 2
    assert sum(line.startswith("| wrong | ") and " | -1.00 |" in line for line in lines) == 2
    (lite0,) = [line for line in lines if line.startswith("| efficientnet_lite0 |")]
    assert ".210 ± " in lite0, "version 2 as docs/recipe.md has it"
    assert ".216 ± " in lite0
    (agreement,) = [line for line in lines if line.startswith("| version 2 | 3 | .99 ")]
    assert agreement.count("|") == 8
    assert "| 2 | .053 | .015 | 3.54 | .92 | .49 |" in lines
    assert any(line.startswith("| 3 | .049 | .011 | 4.44 |") for line in lines)


@pytest.mark.slow
def test_an_llm_without_rows_or_results_is_one_line(
    table: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(VlmatchError, match="has no encoder ranked for llm=gemma; it has smollm2"):
        goodness(table, "gemma")
    for arguments, message in (([str(table), "gemma"], "no results of trainings"), ([], "give a table and an LLM")):
        monkeypatch.setattr(sys, "argv", ["truth_versions", *arguments])
        with pytest.raises(SystemExit, match=message):
            main()
    monkeypatch.setattr(sys, "argv", ["truth_versions", str(table), "smollm2"])
    main()
    assert "| encoder | version 3 | seeds | place |" in capsys.readouterr().out
