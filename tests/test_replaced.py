"""Replaced results: kept aside, read apart, shown, and never counted."""

from dataclasses import replace
from pathlib import Path

import pytest

from made_results import result
from vlmatch import paths
from vlmatch.errors import VlmatchError
from vlmatch.evidence.truths import comparisons_in
from vlmatch.replaced import keep_aside, read_replaced, replaced_in, write_keeping
from vlmatch.results import RecipeId, read, write


def means(results) -> list[float]:
    return [run.mean.score for run in results]


def test_a_result_is_kept_aside_under_the_next_number(tmp_path: Path) -> None:
    run = result("a", 0.3).run
    assert keep_aside(tmp_path, run) is None
    for mean in (0.3, 0.4):
        write(tmp_path, result("a", mean))
        keep_aside(tmp_path, run)
    write(tmp_path, result("a", 0.5))
    assert means(read(tmp_path)) == [0.5]
    assert means(read_replaced(tmp_path)) == [0.3, 0.4]


def test_writing_keeps_another_result_of_the_run_and_not_an_equal_one(tmp_path: Path) -> None:
    for mean in (0.3, 0.3, 0.4):
        write_keeping(tmp_path, result("a", mean))
    assert means(read(tmp_path)) == [0.4]
    assert means(read_replaced(tmp_path)) == [0.3]


def test_replaced_results_are_shown_and_do_not_count(tmp_path: Path) -> None:
    other = RecipeId("embedded", 2, "f" * 64)
    for mean in (0.3, 0.5):
        keep_aside(tmp_path, result("a", mean).run)
        write(tmp_path, result("a", mean))
    write(tmp_path, result("b", 0.2, recipe=other))
    first, second = comparisons_in([tmp_path])
    assert first.by_seed == {"a": {0: 0.5}}
    assert means(first.replaced) == [0.3]
    assert second.replaced == ()


def test_a_result_that_a_later_folder_hides_is_shown_too(tmp_path: Path) -> None:
    for folder, mean in (("packaged", 0.3), ("own", 0.4)):
        write(tmp_path / folder, result("a", mean))
        write(tmp_path / folder, result("b", 0.2))
    assert means(replaced_in([tmp_path / "packaged", tmp_path / "own"])) == [0.3]


def test_the_studys_first_two_results_of_efficientnet_lite0_are_kept_and_not_pooled() -> None:
    (comparison,) = comparisons_in([paths.results()], 2)
    shown = {run.seed: (run.encoder, run.dtype, run.mean.score) for run in comparison.replaced}
    assert shown == {
        0: ("efficientnet_lite0", "bfloat16", pytest.approx(0.239, abs=5e-4)),
        1: ("efficientnet_lite0", "bfloat16", pytest.approx(0.200, abs=5e-4)),
    }
    counted = comparison.by_encoder["efficientnet_lite0"]
    assert [run.dtype for run in counted.runs] == ["float32", "float32"]
    assert not {run.mean.score for run in comparison.replaced} & set(counted.by_seed.values())


def test_a_file_that_is_not_at_its_runs_place_is_refused(tmp_path: Path) -> None:
    write(tmp_path, result("a", 0.3))
    kept = keep_aside(tmp_path, result("a", 0.3).run)
    kept.rename(kept.with_name("b-0.1.json"))
    with pytest.raises(VlmatchError, match=r"belongs to the run embedded/llm-vlm_a/a-0\.json; move it to"):
        read_replaced(tmp_path)


def test_no_recipe_may_have_the_folders_name(tmp_path: Path) -> None:
    with pytest.raises(VlmatchError, match=r"recipe\.name='replaced' is the folder of replaced results"):
        write(tmp_path, replace(result("a", 0.3), recipe=RecipeId("replaced", 1, "f" * 64)))
