"""docs/findings.md follows from the committed results, and the decisions follow from their rules."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from vlmatch import paths
from vlmatch.errors import VlmatchError
from vlmatch.evidence.truths import comparisons
from vlmatch.results import Benchmark, Estimate, Result, read
from vlmatch_study.findings import __main__ as findings
from vlmatch_study.findings.block import Block
from vlmatch_study.findings.stronger_truth import Cell, cells, chosen
from vlmatch_study.marked import replaced


def test_the_document_is_what_the_results_give() -> None:
    document = paths.root() / "docs" / "findings.md"
    assert findings.written(document, paths.root()) == document.read_text(encoding="utf-8")


def test_only_what_stands_below_a_mark_is_replaced() -> None:
    text = "a\n\n<!-- x: made by python -m m -->\nold\nold too\n\nb\n<!-- y: made by python -m other -->\nkept\n"
    made = replaced(text, {"x": "new\n"}, "m")
    assert made == text.replace("old\nold too", "new")
    with pytest.raises(KeyError):
        replaced(text, {}, "m")


def test_a_block_without_experiment_is_refused(tmp_path: Path) -> None:
    with pytest.raises(VlmatchError, match=r"block 9 has no experiment"):
        _ = Block(9, ("embedded",), tmp_path).planned


def test_block_0_has_24_trainings() -> None:
    assert Block(0, ("embedded_200", "embedded_400")).planned == 24


def test_blocks_1_and_2_have_32_trainings_of_16_encoders_each() -> None:
    for number in (1, 2):
        block = Block(number, ("embedded",))
        assert block.planned == 2 * len(set(block.encoders)) == 32
    assert {"mobilenetv2_grid1", "open_nsfw_grid7"} < set(block.encoders)


def runs(truths: Mapping[str, Sequence[float]], **changes: object) -> list[Result]:
    """Runs of the truth's version 2 with these means, one for each seed, made from a committed result."""
    any_run = replace(read(paths.results())[0], **changes)
    return [_with_mean(replace(any_run, encoder=name, seed=seed), mean) for name, means in truths.items()
            for seed, mean in enumerate(means)]  # fmt: skip


def _with_mean(run: Result, mean: float) -> Result:
    """The run with a suite of one benchmark that has this mean as its score, so that the truth is the mean itself."""
    asked = Benchmark(mean, 0.01, 10, 0.0, None, {})
    group = replace(next(iter(run.groups.values())), score=mean, standard_error=0.01, of=("only",))
    suite = replace(run.suite, name="made")
    return replace(
        run, benchmarks={"only": asked}, groups={"only": group}, mean=Estimate(mean, 0.01), suite=suite, milestones=()
    )


def test_a_cell_s_deviations_are_numpy_s() -> None:
    truths = {"a": (0.2, 0.24), "b": (0.1, 0.12), "c": (0.05, 0.03)}
    other = {"a": (0.3, 0.31), "b": (0.2, 0.24), "c": (0.1, 0.12)}
    found = cells(comparisons([*runs(truths, steps=200), *runs(other, data="vlm_b", steps=400)]))
    first, pooled = np.array(list(truths.values())), np.array([*truths.values(), *other.values()])
    assert found[0].between_encoders == pytest.approx(first.mean(1).std(ddof=1), abs=1e-12)
    assert found[0].between_seeds == pytest.approx(np.sqrt(first.var(1, ddof=1).mean()), abs=1e-12)
    assert found[0].pooled == pytest.approx(np.sqrt(pooled.var(1, ddof=1).mean()), abs=1e-12)
    assert [(cell.data, cell.steps) for cell in found] == [(read(paths.results())[0].data, 200), ("vlm_b", 400)]


@pytest.mark.parametrize(
    ("spreads", "seeds", "wanted"),
    [
        ((1, 2, 3, 4), (1, 1, 1, 1), ("vlm_a+vlm_b", 400)),  # the widest
        ((1, 2, 3, 4), (1, 1, 1, 5), ("vlm_a", 400)),  # the widest has noisy seeds
        ((4, 3, 2, 1), (1, 1, 1, 1), None),  # the present one is the widest
        ((4, 3, 3, 3), (4, 1, 1, 1), None),  # better by their own seeds, not by the pooled ones
    ],
)
def test_a_recipe_is_replaced_only_by_one_that_is_better_by_both_ratios(spreads, seeds, wanted) -> None:
    grid = [("vlm_a", 200), ("vlm_a+vlm_b", 200), ("vlm_a", 400), ("vlm_a+vlm_b", 400)]
    pooled = float(np.sqrt(np.mean(np.square(seeds))))
    found = [Cell(*at, {}, width, seed, pooled, 1.0) for at, width, seed in zip(grid, spreads, seeds, strict=True)]
    cell = chosen(found)
    assert (cell and (cell.data, cell.steps)) == wanted
