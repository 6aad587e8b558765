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
from vlmatch.results import (
    Estimate,
    RecipeId,
    _rounding,
    _rounding_above_chance,
    above_chance,
    read,
    read_file,
    read_folders,
    rendered,
    write,
    write_file,
)

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


def test_a_checkout_reads_and_writes_one_folder() -> None:
    assert paths.results() == paths.root() / "study" / "results"
    assert paths.result_folders() == paths.result_folders(paths.results()) == [paths.results()]


def test_a_wheel_writes_to_the_working_folder_and_reads_its_own_results_too(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(paths, "in_checkout", lambda: False)
    monkeypatch.chdir(tmp_path)
    assert paths.results() == tmp_path / "results"
    packaged = paths.PACKAGE / "evidence" / "results"
    assert paths.result_folders() == [packaged, tmp_path / "results"]
    assert paths.result_folders("results") == [packaged, Path("results")]
    assert paths.result_folders(tmp_path / "elsewhere") == [tmp_path / "elsewhere"]


def test_of_one_run_in_two_folders_the_later_folders_counts(tmp_path: Path) -> None:
    for folder, mean in (("packaged", 0.3), ("own", 0.4)):
        write(tmp_path / folder, result("a", mean))
    write(tmp_path / "packaged", result("b", 0.2))
    found = read_folders([tmp_path / "packaged", tmp_path / "own"])
    assert {run.encoder: run.mean.score for run in found} == {"a": 0.4, "b": 0.2}


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
    with pytest.raises(VlmatchError, match=f"{field} can't be part of a file name"):
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


def benchmark_of(plain: dict, name: str, **values: float) -> None:
    plain["benchmarks"][name].update(values)


@pytest.mark.parametrize(
    ("change", "key"),
    [
        (lambda plain: plain["mean"].update(score=0.9), "mean.score=0.9"),
        (lambda plain: plain["mean"].update(score=0.3001), "mean.score=0.3001"),
        (lambda plain: plain["mean"].update(score=0.0), "mean.score=0,"),
        (lambda plain: plain["groups"]["captions"].update(score=0.9), "groups.captions.score=0.9"),
        (lambda plain: benchmark_of(plain, "category", score=0.9), "groups.categories.score="),
        (lambda plain: benchmark_of(plain, "category", chance=1.0), "groups.categories.of=['category']"),
        (lambda plain: plain["groups"]["captions"].update(of=["retrieval"]), "groups.captions.of=['retrieval']"),
        (lambda plain: plain["groups"]["captions"].update(of=[]), "groups.captions.of=[]"),
        (lambda plain: plain.update(groups={}), "no groups"),
        (lambda plain: plain["course"][-1].update(mean=0.9), "course=0.9"),
    ],
)
def test_a_mean_that_does_not_follow_from_the_figures_beside_it_is_refused(tmp_path: Path, change, key: str) -> None:
    path = tmp_path / "a-0.json"
    path.write_text(damaged(change))
    with pytest.raises(VlmatchError) as error:
        read_file(path)
    assert f"result '{path}'" in str(error.value)
    assert key in str(error.value)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("mean", [0.0, 1e-9, -0.31234567, 1 / 3, 0.87654321, 0.875, 12.345678])
def test_rounding_never_makes_a_result_inconsistent(tmp_path: Path, mean: float) -> None:
    assert read_file(write(tmp_path, result("a", mean))).mean.score == pytest.approx(mean, rel=1e-4)


@pytest.mark.parametrize(("score", "chance"), [(0.87654, 0.25), (0.12345, 0.5), (0.00012345, 1 / 13), (-3.2109, 0.9)])
def test_a_group_may_be_off_by_the_rounding_of_its_figures_and_no_more(score: float, chance: float) -> None:
    exact = above_chance(score, chance)
    off = [
        abs(above_chance(score + a * _rounding(score), chance + b * _rounding(chance)) - exact)
        for a in (-1, 1)
        for b in (-1, 1)
    ]
    assert _rounding_above_chance(score, chance) == pytest.approx(max(off), rel=1e-3)


@pytest.mark.parametrize(("field", "value"), [("commit", "1" * 40), ("precision", "bf16-mixed")])
def test_what_early_files_lack_stands_in_a_file_only_where_it_is_known(tmp_path: Path, field: str, value: str) -> None:
    assert field not in json.loads(rendered(result("a", 0.3)))
    known = replace(result("a", 0.3), **{field: value})
    assert json.loads(rendered(known))[field] == value
    assert getattr(read_file(write(tmp_path, known)), field) == value


def test_a_run_in_another_runs_place_is_refused(tmp_path: Path) -> None:
    path = write(tmp_path, result("a", 0.3))
    path.rename(path.with_name("b-0.json"))
    with pytest.raises(VlmatchError, match=r"belongs to the run embedded/llm-vlm_a/a-0\.json; move it to"):
        read(tmp_path)
