"""Results: what is written is read again, equal results are equal bytes, and every damage is one line."""

import json
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from made_results import result
from vlmatch import paths
from vlmatch.errors import VlmatchError
from vlmatch.results import Estimate, RecipeId, read, read_file, rendered, write, write_file

MEANS = st.floats(min_value=-1, max_value=1)


def test_what_is_written_is_read_again_at_its_runs_place(tmp_path: Path) -> None:
    runs = [result("b", 0.4321, seed=1), result("a", 0.25)]
    written = [write(tmp_path, run) for run in runs]
    assert written == [tmp_path / "embedded/llm-vlm_a" / name for name in ("b-1.json", "a-0.json")]
    assert sorted(path for path in tmp_path.rglob("*") if path.is_file()) == sorted(written)
    assert [run.encoder for run in read(tmp_path)] == ["a", "b"]
    assert rendered(read(tmp_path)[1]) == rendered(runs[0])


@given(MEANS)
def test_reading_and_writing_again_changes_no_byte(tmp_path_factory: pytest.TempPathFactory, mean: float) -> None:
    path = tmp_path_factory.mktemp("result") / "a-0.json"
    write_file(path, result("a", mean))
    again = read_file(path)
    assert again.mean.score == pytest.approx(mean, rel=5e-5)
    assert rendered(again) == path.read_text()


def test_the_order_of_keys_does_not_change_a_byte() -> None:
    one = result("a", 0.3)
    turned = replace(one, benchmarks=dict(reversed(one.benchmarks.items())), config=dict(reversed(one.config.items())))
    assert rendered(one) == rendered(turned)


def test_measured_figures_are_rounded_and_the_config_is_not() -> None:
    plain = json.loads(rendered(result("a", 0.3, loss=2.123456789, config={"rate": 1.23456789e-6})))
    assert plain["loss"] == 2.1235
    assert plain["config"]["rate"] == 1.23456789e-6


def test_the_folder_is_the_checkouts_else_the_wheels(monkeypatch: pytest.MonkeyPatch) -> None:
    assert paths.results() == paths.root() / "study" / "results"
    monkeypatch.setattr(paths, "in_checkout", lambda: False)
    assert paths.results() == paths.PACKAGE / "evidence" / "results"


def test_a_folder_that_is_not_there_holds_nothing(tmp_path: Path) -> None:
    assert read(tmp_path / "none") == []


def test_a_figure_that_is_not_finite_is_refused_and_leaves_no_file(tmp_path: Path) -> None:
    with pytest.raises(VlmatchError, match=r"mean\.score=nan, wanted a finite number"):
        write(tmp_path, replace(result("a", 0.3), mean=Estimate(float("nan"), 0.1)))
    assert not list(tmp_path.rglob("*.json"))


@pytest.mark.parametrize(
    ("other", "field"),
    [
        ({"llm": "../../etc"}, "llm='../../etc'"),
        ({"data": ""}, "data=''"),
        ({"recipe": RecipeId("a/b", 1, "f")}, "recipe.name='a/b'"),
    ],
)
def test_a_name_that_leads_out_of_the_folder_is_refused(tmp_path: Path, other: dict, field: str) -> None:
    with pytest.raises(VlmatchError, match=f"{field} can't name a file"):
        write(tmp_path, result("a", 0.3, **other))


def damaged(change) -> str:
    plain = json.loads(rendered(result("a", 0.3)))
    change(plain)
    return json.dumps(plain)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{", "can't be read: "),
        ("[]", "has format list; this version of vlmatch reads 1"),
        (damaged(lambda plain: plain.update(format=2)), "has format 2; this version of vlmatch reads 1"),
        (damaged(lambda plain: plain.pop("mean")), "damaged at 'mean': Field required"),
        (damaged(lambda plain: plain.update(seed="0")), "damaged at 'seed': Input should be a valid integer"),
        (damaged(lambda plain: plain.update(more=1)), "damaged at 'more': "),
        (damaged(lambda plain: plain["mean"].update(more=1)), "damaged at 'mean.more': "),
        (damaged(lambda plain: plain["mean"].update(score=float("nan"))), "damaged at 'mean.score': "),
        (
            damaged(lambda plain: plain["benchmarks"]["category"]["by_source"]["emoji"].pop("n")),
            "damaged at 'benchmarks.category.by_source.emoji.n': Field required",
        ),
    ],
)
def test_a_damaged_file_is_named_with_what_is_wrong_in_it(tmp_path: Path, text: str, message: str) -> None:
    path = tmp_path / "a-0.json"
    path.write_text(text)
    with pytest.raises(VlmatchError) as error:
        read_file(path)
    assert f"result '{path}'" in str(error.value)
    assert message in str(error.value)
    assert "\n" not in str(error.value)


def test_a_run_in_another_runs_place_is_refused(tmp_path: Path) -> None:
    path = write(tmp_path, result("a", 0.3))
    path.rename(path.with_name("b-0.json"))
    with pytest.raises(VlmatchError, match=r"is of the run embedded/llm-vlm_a/a-0\.json; move it to"):
        read(tmp_path)
