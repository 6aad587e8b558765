"""task=collect: finished runs come into results/, twice is once, and nothing is overwritten unasked."""

from pathlib import Path

import pytest

from made_results import result
from vlmatch.replaced import read_replaced
from vlmatch.results import RecipeId, Result, SuiteId, read, rendered, write, write_file


@pytest.fixture
def collect(cli, tmp_path: Path):
    """Run the task over folders of its own."""

    def run(*arguments: str) -> tuple[int, str, str]:
        return cli("task=collect", f"task.runs={tmp_path}/runs", f"++results={tmp_path}/results", *arguments)

    return run


def finished(tmp_path: Path, *runs: Result, name: str = "") -> None:
    for run in runs:
        folder = tmp_path / "runs" / name / run.run.with_suffix("")
        write_file(folder / "result.json", run)
        (folder / "likelihoods.npz").write_bytes(f"of {run.encoder} {run.seed} {run.mean.score}".encode())


def test_new_runs_are_written_to_their_places_and_shown(collect, tmp_path: Path) -> None:
    runs = [result("a", 0.345), result("a", 0.355, 1), result("blind", 0.0, control=True)]
    finished(tmp_path, *runs)
    (tmp_path / "runs" / "unfinished").mkdir()
    code, out, err = collect()
    assert code == 0, err
    assert [rendered(run) for run in read(tmp_path / "results")] == [rendered(run) for run in runs]
    likelihoods = {path.stem: path.read_text() for path in (tmp_path / "results").rglob("*.npz")}
    assert likelihoods == {"a-0": "of a 0 0.345", "a-1": "of a 1 0.355", "blind-0": "of blind 0 0.0"}
    assert ".345" in out
    assert "3 runs: 3 new, 0 replaced, 0 not taken, 0 as before" in out


def test_a_run_that_another_suite_measured_is_no_truth(collect, tmp_path: Path) -> None:
    finished(tmp_path, result("a", 0.3), result("b", 0.4, suite=SuiteId("selection", 1, 240)))
    code, out, err = collect()
    assert code == 2
    assert "1 new, 0 replaced, 0 not taken, 1 of another suite, 0 as before" in out
    assert "1 of 2 runs in" in err
    assert "other benchmarks than 'embedded' version 1 (first: embedded/llm-vlm_a/b-0.json)" in err
    assert [found.encoder for found in read(tmp_path / "results")] == ["a"]


def test_a_run_of_another_recipe_and_suite_is_left_without_an_error(collect, tmp_path: Path) -> None:
    other = result("b", 0.4, recipe=RecipeId("embedded_400", 1, "e" * 64), suite=SuiteId("selection", 1, 240))
    finished(tmp_path, result("a", 0.3), other)
    code, out, err = collect()
    assert code == 0, err
    assert "1 new, 0 replaced, 0 not taken, 1 of another suite, 0 as before" in out


def test_a_result_of_a_newer_version_takes_the_place_of_the_older(collect, tmp_path: Path) -> None:
    newer = RecipeId("embedded", 2, "f" * 64)
    write(tmp_path / "results", result("a", 0.3))
    write(tmp_path / "results", result("b", 0.3, recipe=newer))
    finished(tmp_path, result("a", 0.5, recipe=newer), result("b", 0.5))
    code, out, err = collect()
    assert code == 2
    assert "0 new, 1 replaced, 1 not taken, 0 as before" in out
    assert "b-0.json)" in err
    assert {found.encoder: found.mean.score for found in read(tmp_path / "results")} == {"a": 0.5, "b": 0.3}


def test_a_newer_recipe_does_not_bring_an_older_suite(collect, tmp_path: Path) -> None:
    def made(encoder: str, mean: float, recipe: int, suite: int) -> Result:
        recipe_id, suite_id = RecipeId("embedded", recipe, "f" * 64), SuiteId("embedded", suite, 420)
        return result(encoder, mean, recipe=recipe_id, suite=suite_id)

    for before in (made("a", 0.3, 1, 3), made("b", 0.3, 3, 1), made("c", 0.3, 1, 1)):
        write(tmp_path / "results", before)
    other = SuiteId("selection", 1, 240)
    write(tmp_path / "results", result("d", 0.3, suite=other))
    finished(tmp_path, made("a", 0.5, 2, 2), made("b", 0.5, 2, 2), made("c", 0.5, 1, 2), made("d", 0.5, 2, 2))
    code, out, err = collect("benchmark.version=2")
    assert code == 2
    assert "0 new, 1 replaced, 3 not taken, 0 as before" in out
    assert "a-0.json)" in err
    kept = {run.encoder: (run.recipe.version, run.suite.version) for run in read(tmp_path / "results")}
    assert kept == {"a": (1, 3), "b": (3, 1), "c": (1, 2), "d": (1, 1)}


def test_collecting_again_changes_nothing_and_says_what_is_new(collect, tmp_path: Path) -> None:
    finished(tmp_path, result("a", 0.3))
    collect()
    (path,) = (tmp_path / "results").rglob("*.json")
    before = path.stat().st_mtime_ns
    finished(tmp_path, result("b", 0.4))
    code, out, _ = collect()
    assert code == 0
    assert "2 runs: 1 new, 0 replaced, 0 not taken, 1 as before" in out
    assert path.stat().st_mtime_ns == before


def test_a_run_with_another_result_is_not_taken_and_the_others_are(collect, tmp_path: Path) -> None:
    write(tmp_path / "results", result("a", 0.3))
    finished(tmp_path, result("a", 0.5), result("b", 0.4))
    code, out, err = collect()
    assert code == 2
    assert "1 new, 0 replaced, 1 not taken, 0 as before" in out
    assert "1 of 2 runs in" in err
    assert "(first: embedded/llm-vlm_a/a-0.json); replace those by task.replace=true" in err
    assert err.count("\n") == 1
    assert [run.mean.score for run in read(tmp_path / "results")] == [0.3, 0.4]
    code, out, _ = collect("task.replace=true")
    assert code == 0
    assert "0 new, 1 replaced, 0 not taken, 1 as before" in out
    assert [run.mean.score for run in read(tmp_path / "results")] == [0.5, 0.4]
    assert next((tmp_path / "results").rglob("a-0.npz")).read_text() == "of a 0 0.5"


def test_a_replaced_result_is_kept_aside_with_its_likelihoods(collect, tmp_path: Path) -> None:
    for mean in (0.3, 0.4, 0.5):
        finished(tmp_path, result("a", mean))
        assert collect("task.replace=true")[0] == 0
    assert [run.mean.score for run in read(tmp_path / "results")] == [0.5]
    assert [run.mean.score for run in read_replaced(tmp_path / "results")] == [0.3, 0.4]
    aside = tmp_path / "results" / "replaced" / "embedded" / "llm-vlm_a"
    assert {path.name: path.read_text() for path in aside.glob("*.npz")} == {
        "a-0.1.npz": "of a 0 0.3",
        "a-0.2.npz": "of a 0 0.4",
    }


def test_two_folders_of_one_run_must_agree(collect, tmp_path: Path) -> None:
    finished(tmp_path, result("a", 0.3))
    finished(tmp_path, result("a", 0.3), name="again")
    assert collect()[0] == 0
    finished(tmp_path, result("a", 0.4), name="again")
    code, _, err = collect()
    assert code == 2
    assert "the same run embedded/llm-vlm_a/a-0.json" in err


def test_no_finished_run_is_an_error(collect, tmp_path: Path) -> None:
    code, _, err = collect()
    assert code == 2
    assert "no run below it is finished (RUN/result.json)" in err


def test_a_damaged_result_of_a_run_is_named(collect, tmp_path: Path) -> None:
    (tmp_path / "runs" / "a-0").mkdir(parents=True)
    (tmp_path / "runs" / "a-0" / "result.json").write_text('{"format": 1}')
    code, _, err = collect()
    assert code == 2
    assert "a-0/result.json' is damaged at 'encoder': Field required" in err


def test_a_result_without_its_likelihoods_is_refused(collect, tmp_path: Path) -> None:
    finished(tmp_path, result("a", 0.3))
    next((tmp_path / "runs").rglob("*.npz")).unlink()
    code, _, err = collect()
    assert code == 2
    assert "a-0' has a result but no likelihoods.npz; measure it again by task=evaluate" in err
    assert not read(tmp_path / "results")
