"""A truth of the user's: every form is read; bad entries are one line each, and what is known is kept."""

import json
import os
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from vlmatch.errors import VlmatchError
from vlmatch.evidence.own.cells import read_truth
from vlmatch.evidence.own.comparable import comparable_truths, complete
from vlmatch.evidence.own.names import Names

FILES = Path(__file__).parents[1] / "benchmarks" / "lmms_files"
TABLES = Path(__file__).parents[2] / "src" / "vlmatch" / "evidence" / "tables"
HEAD = "encoder,llm,benchmark,score"
ENCODERS = "abcde"
NAMES = Names.of(None)


def written(tmp_path: Path, *lines: str, head: str = HEAD) -> Path:
    path = tmp_path / "truth.csv"
    path.write_text("\n".join([head, *lines]) + "\n", encoding="utf-8")
    return path


def five(benchmark: str = "gqa", factor: float = 10.0) -> list[str]:
    return [f"{name},llm,{benchmark},{factor * (place + 1)}" for place, name in enumerate(ENCODERS)]


def truths(path: Path, names: Names = NAMES) -> dict[str, float]:
    """By encoder, the mean truth of the only LLM."""
    (found,), _ = comparable_truths(read_truth(path, names))
    return dict(zip(found.encoders, found.mean, strict=True))


def test_one_benchmark_stays_as_it_is(tmp_path: Path) -> None:
    assert truths(written(tmp_path, *five())) == dict(zip(ENCODERS, [10, 20, 30, 40, 50], strict=True))


@pytest.mark.parametrize(
    ("separator", "encoding"),
    [(";", "utf-8"), ("\t", "utf-8-sig"), (",", "utf-8-sig"), ("\t", "utf-16"), (",", "utf-16-be")],
)
def test_tables_of_spreadsheets_are_read(tmp_path: Path, separator: str, encoding: str) -> None:
    path = tmp_path / "truth.csv"
    path.write_text("\n".join(["Encoder, LLM ,benchmark,Score", *five()]).replace(",", separator), encoding=encoding)
    assert list(truths(path).values()) == [10, 20, 30, 40, 50]


@pytest.mark.parametrize("above", ["", "sep=\t\n"])
def test_a_comma_in_a_cell_does_not_split_a_table_of_tabs_and_lines_are_counted_in_the_file(
    tmp_path: Path, above: str
) -> None:
    columns = "\t".join([*HEAD.split(","), "note (own, new)"])
    bad = ['f\tllm\tgqa\tfifty\t"two\nlines"', "", "h\tllm\tgqa\tsixty"]
    path = written(tmp_path, *(line.replace(",", "\t") for line in five()), *bad, head=above + columns)
    truth = read_truth(path, NAMES)
    assert {cell.encoder for cell in truth.cells} == set(ENCODERS)
    last = len(path.read_text().splitlines())
    (note,) = truth.notes
    assert f"line {last - 2} (f," in note
    assert f"line {last} (h" in note


@pytest.mark.parametrize(
    ("line", "wrong"),
    [
        ("a,llm,gqa,10,5", "line 2 has more cells than the header, split at a comma"),
        ('a,"llm,gqa,10', "unexpected end"),
    ],
)
def test_a_row_that_is_not_split_as_the_header_is_named(tmp_path: Path, line: str, wrong: str) -> None:
    with pytest.raises(VlmatchError, match=f"can't be read as a table: {wrong}"):
        read_truth(written(tmp_path, line), NAMES)


def test_benchmarks_of_one_scale_are_averaged_and_of_several_standardised(tmp_path: Path) -> None:
    percent = written(tmp_path, *five(), *five("pope", 4))
    assert list(truths(percent).values()) == pytest.approx([7, 14, 21, 28, 35])
    (found,), _ = comparable_truths(read_truth(written(tmp_path, *five(), *five("mme", 300)), NAMES))
    ranks = np.arange(5.0)
    assert found.mean == pytest.approx((ranks - 2) / ranks.std())
    assert "different scales" in found.measure


def test_a_tables_own_average_is_used_alone() -> None:
    found, problems = comparable_truths(read_truth(TABLES / "cambrian1.csv", NAMES))
    assert not problems
    assert {each.measure for each in found} == {"Average"}
    assert {each.recipe: len(each.encoders) for each in found} == {
        "0M_frozen": 23, "0.5M_frozen": 18, "1.2M_frozen": 18, "1.2M_unfrozen": 13,
    }  # fmt: skip
    last = next(each for each in found if each.recipe == "1.2M_frozen")
    assert dict(zip(last.encoders, last.mean, strict=True))["dfn5b_h14_378"] == pytest.approx(51.2, abs=0.05)


def test_an_encoder_without_the_tables_own_average_is_left_out_and_named(tmp_path: Path) -> None:
    lines = [*five("gqa"), *five("Average")][:-1]
    (found,), _ = comparable_truths(read_truth(written(tmp_path, *lines), NAMES))
    absent = lines[4].split(",")[0]
    assert found.measure == "Average"
    assert absent not in found.encoders
    assert f"encoders that lack a benchmark are left out: {absent}" in found.notes


def test_seeds_stand_beside_each_other_and_give_the_error(tmp_path: Path) -> None:
    rows = [f"{name},llm,gqa,{place + seed},{seed}" for place, name in enumerate(ENCODERS) for seed in (0, 2)]
    (found,), _ = comparable_truths(read_truth(written(tmp_path, *rows, head=f"{HEAD},seed"), NAMES))
    assert found.truth.shape == (5, 2)
    assert found.standard_error == pytest.approx(np.sqrt(2 * 2 / 2))  # the variance of (0, 2) is 2
    (found,), _ = comparable_truths(read_truth(written(tmp_path, *rows[:-1], head=f"{HEAD},seed"), NAMES))
    assert found.truth[:, 0].tolist() == [1, 2, 3, 4, 4]
    assert "same seeds" in " ".join(found.notes)


@pytest.mark.parametrize("name", ["truth.csv", "truth.xlsx", "my_results.json"])
def test_a_pipe_is_refused_before_it_is_read(tmp_path: Path, name: str) -> None:
    os.mkfifo(tmp_path / name)
    with pytest.raises(VlmatchError, match="it is a pipe, socket or device"):
        read_truth(tmp_path / name, NAMES)


def test_bad_rows_are_left_out_and_the_rest_is_kept(tmp_path: Path) -> None:
    bad = ["f,llm,gqa,", "g,llm,gqa,nan", "h,llm,gqa,fifty", ",llm,gqa,3", "a,llm,gqa,10.0", "e,llm,gqa,51"]
    truth = read_truth(written(tmp_path, *five(), *bad), NAMES)
    assert {cell.encoder for cell in truth.cells} == set("abcd")
    unreadable, equal, contradiction = truth.notes
    assert "line 7 (f, score '')" in unreadable
    assert "line 8 (g" in unreadable
    assert unreadable.endswith("and 1 more")
    assert "line 11" in equal
    assert "line 6 and line 12 (e, gqa: 50 and 51)" in contradiction
    assert all("\n" not in note for note in truth.notes)


def test_what_most_lack_leaves_and_not_what_most_have(tmp_path: Path) -> None:
    path = written(tmp_path, *five(), *five("pope")[:4], "a,llm,rare,3", "z,llm,rare,4")
    (found,), _ = comparable_truths(read_truth(path, NAMES))
    assert found.encoders == tuple(ENCODERS)[: len(found.encoders)]
    assert len(found.encoders) >= 4
    assert "rare" in " ".join(found.notes)


@given(st.integers(1, 6), st.integers(1, 6), st.data())
def test_a_complete_table_has_no_gap_and_loses_nothing_without_need(n: int, m: int, data: st.DataObject) -> None:
    known = np.array(data.draw(st.lists(st.lists(st.booleans(), min_size=m, max_size=m), min_size=n, max_size=n)))
    rows, columns = complete(known)
    assert known[np.ix_(rows, columns)].all()
    if known.all():
        assert (len(rows), len(columns)) == (n, m)


@pytest.mark.parametrize(
    ("lines", "says"),
    [
        (["siglip,llm,gqa,3"], "1 encoder (siglip) answered the same benchmarks; wanted at least 4"),
        ([f"{name},llm,gqa,5" for name in ENCODERS], "every encoder has the same truth"),
        ([], "has a header and no rows"),
        (["a,llm,gqa,", "b,llm,gqa,?"], "has no score that counts"),
        ([f"{name},llm,gqa,{score}" for name in ENCODERS for score in (1, 2)], "contradict each other"),
    ],
)
def test_a_truth_that_says_nothing_is_one_line(tmp_path: Path, lines: list[str], says: str) -> None:
    with pytest.raises(VlmatchError) as error:
        comparable_truths(read_truth(written(tmp_path, *lines), NAMES))
    assert says in str(error.value)
    assert "study.truth=" in str(error.value)
    assert "\n" not in str(error.value)


def test_a_wrong_file_is_one_line(tmp_path: Path) -> None:
    with pytest.raises(VlmatchError, match=r"has no column benchmark; it has encoder, llm, score"):
        read_truth(written(tmp_path, "a,llm,3", head="encoder,llm,score"), NAMES)
    with pytest.raises(VlmatchError, match="does not exist"):
        read_truth(tmp_path / "absent.csv", NAMES)
    (tmp_path / "empty").mkdir()
    with pytest.raises(VlmatchError, match="has no result files"):
        read_truth(tmp_path / "empty", NAMES)
    (tmp_path / "image.csv").write_bytes(b"\x89PNG\r\n\x1a\n\xff\xfe")
    (tmp_path / "damaged.xlsx").write_bytes(b"PK\x03\x04 no archive")
    for name in ("image.csv", "damaged.xlsx"):
        with pytest.raises(VlmatchError, match="can't be read as a table"):
            read_truth(tmp_path / name, NAMES)


def test_a_good_llm_is_kept_beside_one_with_a_single_encoder(tmp_path: Path) -> None:
    found, problems = comparable_truths(read_truth(written(tmp_path, *five(), "a,other,gqa,3"), NAMES))
    assert [each.llm for each in found] == ["llm"]
    assert "other: 1 encoder (a) answered" in problems[0]


def test_names_say_what_the_truths_names_stand_for(tmp_path: Path) -> None:
    names = Names.of(pd.DataFrame({"their_name": ["a", "b"], "encoder": ["clip_b16", ""], "llm": ["mine", ""]}))
    cells = read_truth(written(tmp_path, *five()), names).cells
    assert [(cell.encoder, cell.llm) for cell in cells[:2]] == [("clip_b16", "mine"), ("b", "llm")]
    with pytest.raises(VlmatchError, match=r"row 2 gives 'a' a second meaning"):
        Names.of(pd.DataFrame({"their_name": ["a", "a"], "encoder": ["clip_b16", "clip_l14"]}))


def kit(folder: Path, model: str, dataset: str, ending: str, text: str, run: str = "") -> None:
    path = folder / model / run / f"{model}_{dataset}{ending}"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")


def test_vlmevalkits_files_are_read_as_they_come(tmp_path: Path) -> None:
    for place, model in enumerate(("llava-a", "llava-b", "llava-c", "llava-d")):
        kit(tmp_path, model, "MMBench_DEV_EN", "_acc.csv", f'"split","Overall","AR"\n"dev","0.{place + 2}","0.1"\n')
        kit(tmp_path, model, "MMMU_DEV_VAL", "_acc.csv", f"split,Overall\ndev,0.9\nvalidation,0.{place + 1}\n")
        kit(tmp_path, model, "MME", "_score.csv", f"perception,reasoning,OCR\n{1000 + place},200,50\n")
        kit(tmp_path, model, "POPE", "_score.csv", f"split,Overall,acc\nadversarial,1,1\nOverall,{80 + place},2\n")
        kit(
            tmp_path,
            model,
            "HallusionBench",
            "_score.csv",
            f"split,aAcc,fAcc,qAcc\nOverall,{60 + place},30,30\nVD,1,1,1\n",
        )
        kit(
            tmp_path, model, "MathVista_MINI", "_gpt-4o-mini_score.csv", f"Task&Skill,tot,acc\nOverall,9,{30 + place}\n"
        )
        kit(tmp_path, model, "OCRBench", "_score.json", json.dumps({"Final Score": 5, "Final Score Norm": 40 + place}))
        kit(tmp_path, model, "OCRBench", "_score.json", json.dumps({"Final Score": 9}), run="T20250101_Gabc")
    kit(tmp_path, "llava-a", "Odd", "_acc.csv", "split,accuracy\nx,1\ny,2\n")
    truth = read_truth(tmp_path, Names.of(pd.DataFrame({"their_name": ["llava-a"], "encoder": ["x"], "llm": ["y"]})))
    found = {(cell.encoder, cell.benchmark): cell.score for cell in truth.cells}
    assert found["x", "MMBench_DEV_EN"] == 0.2
    assert found["llava-d", "MMMU_DEV_VAL"] == 0.4
    assert found["llava-b", "MME"] == 1201
    assert found["llava-b", "POPE"] == 81
    assert found["llava-c", "HallusionBench"] == pytest.approx((62 + 60) / 3)
    assert found["llava-c", "MathVista_MINI"] == 32
    assert found["llava-c", "OCRBench"] == 42
    assert len(found) == 28
    assert {cell.llm for cell in truth.cells if cell.encoder == "x"} == {"y"}
    odd, older = truth.notes
    assert "llava-a_Odd_acc.csv" in odd
    assert "older results" in older


def test_vlmevalkits_summary_is_read(tmp_path: Path) -> None:
    path = tmp_path / "summ.csv"
    path.write_text(",Model,MMBench,MME\n0,a,60,1300\n1,b,61,\n2,c,62,1302\n", encoding="utf-8")
    truth = read_truth(path, NAMES)
    assert {(cell.encoder, cell.benchmark): cell.score for cell in truth.cells} == {
        ("a", "MMBench"): 60, ("a", "MME"): 1300, ("b", "MMBench"): 61, ("c", "MMBench"): 62, ("c", "MME"): 1302,
    }  # fmt: skip
    assert "line 3 (b, MME)" in truth.notes[0]


def test_lmms_evals_files_are_read_as_they_come() -> None:
    truth = read_truth(FILES, NAMES)
    assert truth.cells
    assert all(0 <= cell.score <= 1 for cell in truth.cells)
    assert all("\n" not in note for note in truth.notes)


def lmms(folder: Path, model: str, **figures: dict[str, object]) -> None:
    plain = {"results": figures, "config": {"model_args": model, "limit": None}, "n-samples": {}}
    plain["higher_is_better"] = {"loss": {"nll": False}}
    folder.mkdir()
    (folder / "20250101_results.json").write_text(json.dumps(plain), encoding="utf-8")


def test_any_task_of_lmms_eval_counts_by_its_only_figure(tmp_path: Path) -> None:
    one = {"mmmu_val": {"alias": "m", "mmmu_acc,none": 0.4, "mmmu_acc_stderr,none": "N/A"}}
    several = {"chartqa": {"relaxed_overall,none": 0.7, "relaxed_human_split,none": 0.6, "samples": 9}}
    unclear = {"ai2d": {"exact_match,none": 0.1, "exact_match,flexible": 0.2}, "loss": {"nll,none": 2.0}}
    lmms(tmp_path / "a", "pretrained=me/llava-siglip,device_map=auto", **one, **several, **unclear)
    lmms(tmp_path / "b", "", **one)
    (tmp_path / "broken_results.json").write_text("{")
    names = Names.of(pd.DataFrame({"their_name": ["llava-siglip"], "encoder": ["siglip"], "llm": ["qwen"]}))
    truth = read_truth(tmp_path, names)
    assert {(cell.encoder, cell.llm, cell.benchmark): cell.score for cell in truth.cells} == {
        ("siglip", "qwen", "mmmu_val"): 0.4,
        ("siglip", "qwen", "chartqa"): 0.7,
        ("b", "an LLM that is not named", "mmmu_val"): 0.4,
    }
    broken, left_out = sorted(truth.notes)
    assert "broken_results.json' can't be read" in broken
    assert "wanted a result file of lmms-eval" in broken
    assert "(ai2d)" in left_out
    assert "(loss)" in left_out
