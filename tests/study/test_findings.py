"""docs/findings.md follows from the committed results, and the decisions follow from their rules."""

from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import spearmanr

from made_truths import runs
from vlmatch import paths
from vlmatch.errors import VlmatchError
from vlmatch.evidence.truths import comparisons
from vlmatch.results import Result, read
from vlmatch_study.blocks.block import Block
from vlmatch_study.findings import __main__ as findings
from vlmatch_study.findings import dtypes, page, picture, repeated
from vlmatch_study.findings.holm import holm
from vlmatch_study.findings.runs import write as write_runs
from vlmatch_study.findings.section import Part, Section, of_blocks
from vlmatch_study.findings.stronger_truth import Cell, cells, chosen
from vlmatch_study.marked import replaced, without_marks
from vlmatch_study.rows import read as rows_of


def test_the_documents_are_what_the_results_give() -> None:
    made = findings.parts(paths.root())
    for document in findings.documents(paths.root()):
        text = document.read_text(encoding="utf-8")
        assert replaced(text, made, findings.MODULE) == text


def test_only_what_stands_below_a_mark_is_replaced() -> None:
    text = "a\n\n<!-- x: made by python -m m -->\nold\nold too\n\nb\n<!-- y: made by python -m other -->\nkept\n"
    made = replaced(text, {"x": "new\n"}, "m")
    assert made == text.replace("old\nold too", "new")
    with pytest.raises(KeyError):
        replaced(text, {}, "m")


def test_a_part_with_a_mark_of_its_end_may_have_empty_lines() -> None:
    text = "<!-- x: made by python -m m -->\nold\n\nold too\n<!-- end of x -->\n\nkept\n"
    made = replaced(text, {"x": "new\n\nnewer\n"}, "m")
    assert made == text.replace("old\n\nold too", "new\n\nnewer")
    assert without_marks(made) == "new\n\nnewer\n\nkept\n"


def test_a_section_says_one_line_until_a_training_is_finished_and_leaves_out_what_is_empty(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    blocks = [Block.of(4, paths.root()), Block.of("4_others", paths.root())]
    made = Section("An answer.", (Part("", "Above nothing:"), Part("| a |", "Above a table:")))
    monkeypatch.setattr("vlmatch_study.blocks.block.read", lambda folder: [])
    assert of_blocks(blocks, lambda _: made).text == "None of 141 trainings is finished."
    blocks = [Block.of(4, paths.root()), Block.of("4_others", paths.root())]
    recipe = replace(read(paths.results())[0].recipe, name=blocks[0].recipes[0])
    done = runs({blocks[1].encoders[0]: [0.1]}, recipe=recipe, dtype="bfloat16")
    monkeypatch.setattr("vlmatch_study.blocks.block.read", lambda folder: done)
    assert of_blocks(blocks, lambda _: made).text == (
        "1 of 141 trainings is finished, in bfloat16. An answer.\n\nAbove a table:\n\n| a |"
    )


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


def test_holm_multiplies_by_the_number_of_tests_that_are_left() -> None:
    assert holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.06, 0.06, 0.02])  # Holm (1979), worked by hand
    assert holm([0.9, 0.8]) == [1.0, 1.0]
    assert holm([]) == []


def test_block_4_s_deviations_are_numpy_s() -> None:
    drawn = np.random.default_rng(3).normal(0.2, 0.05, (5, 6))
    truths = {name: each.tolist() for name, each in zip("abcde", drawn, strict=True)}
    truths["e"] = truths["e"][:3]
    (comparison,) = comparisons(runs(truths, control=False))
    found = {each.seeds: each for each in repeated.by_seeds(comparison)}
    assert [found[count].encoders for count in (2, 3, 4, 5, 6)] == [5, 5, 4, 4, 4]
    assert found[3].between_encoders == pytest.approx(drawn[:, :3].mean(1).std(ddof=1), abs=1e-9)
    assert found[3].of_mean == pytest.approx(np.sqrt(drawn[:, :3].var(1, ddof=1).mean() / 3), abs=1e-9)
    (other,) = comparisons(runs({name: each[::-1] for name, each in truths.items()}, control=False))
    assert repeated.from_recipe_to_recipe(comparison, other).spearman == pytest.approx(1)
    lines = repeated.agreement(comparison, "abcd").splitlines()
    assert len(lines) == 2 + 15
    one, other = ([truths[name][seed] for name in "abcd"] for seed in (0, 1))
    assert lines[2].split(" | ")[3:] == ["4", f"{spearmanr(one, other).statistic:.2f} |".replace("0.", ".")]


def test_block_4_has_six_seeds_of_the_best_and_three_of_all_others() -> None:
    root = paths.root()
    best, others = Block.of(4, root), Block.of("4_others", root)
    assert (best.planned, others.planned) == (72, 69)
    assert len({*best.encoders, *others.encoders}) == 35


def test_a_block_without_runs_has_a_csv_with_the_head_alone(tmp_path: Path) -> None:
    write_runs(tmp_path / "runs.csv", [])
    assert (tmp_path / "runs.csv").read_text().startswith("encoder,llm,recipe,")
    assert rows_of(tmp_path / "runs.csv") == []


def in_two_dtypes(shift: float) -> list[Result]:
    """Three encoders: one in float32, one in bfloat16, one in both; what bfloat16 adds is `shift`."""
    truths = {"a": (0.1, 0.1), "b": (0.2 + shift, 0.2 + shift), "c": (0.3, 0.3 + shift)}
    full = {("a", 0), ("a", 1), ("c", 0)}
    return [replace(run, dtype="float32" if (run.encoder, run.seed) in full else "bfloat16") for run in runs(truths)]


def test_the_effect_of_a_dtype_is_that_within_encoders() -> None:
    (comparison,) = comparisons(in_two_dtypes(0.05))
    (effect,) = dtypes.effects(comparison)
    assert effect.dtype == "bfloat16"
    assert (effect.value, effect.error) == pytest.approx((0.05, 0), abs=1e-9)
    assert dtypes.effects(comparisons([run for run in in_two_dtypes(0.05) if run.encoder != "c"])[0]) == []


def test_the_page_has_the_tables_and_no_marks_and_its_links_lead_to_the_documents() -> None:
    made = page.rendered(
        "# A & B\n[x](../study/blocks.md) [y](https://a.b/c)\n\n<!-- t: made by python -m m -->\n|a|\n|---|\n|1|\n"
    )
    assert "<title>A &amp; B</title>" in made
    assert '<a href="../../../docs/../study/blocks.md">' in made
    assert '<a href="https://a.b/c">' in made
    assert "<td>1</td>" in made
    assert "made by" not in made


@pytest.mark.parametrize("seeds", [1, 2])
@pytest.mark.slow
def test_every_section_stands_with_some_of_the_trainings_and_with_all(
    seeds: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("vlmatch.evidence.replay.POOLS", 500)
    monkeypatch.setattr("vlmatch.evidence.replay.RESAMPLES", 20)
    root, drawn, made = paths.root(), np.random.default_rng(4), []
    for block in (Block.of(number, root) for number in (1, 2, 3, 4, "4_others")):
        truths = {name: drawn.normal(0.2, 0.05, seeds).tolist() for name in block.encoders}
        recipe = replace(read(paths.results())[0].recipe, name=block.recipes[0])
        made += [replace(run, dtype="float32" if run.seed else "bfloat16") for run in runs(truths, recipe=recipe)]
    once = list({run.run: run for run in made}.values())
    monkeypatch.setattr("vlmatch_study.blocks.block.read", lambda folder: [] if "6" in folder.parts else once)
    parts = findings.parts(root)
    for number, planned in ((1, 32), (2, 32), (3, 28)):
        said = parts[f"block {number}"]
        assert said.startswith(f"{16 * seeds if number < 3 else 14 * seeds} of {planned} trainings are finished")
        assert ("Preliminary" in said or "stays open" in said) == (seeds == 1)
        assert ("bfloat16 minus float32" in said) == ("without the trainings in float32" in said) == (seeds == 2)
        assert "| enc" in said
    assert "Spearman of" in parts["block 4"]
    assert not [name for name, part in parts.items() if "\n\n\n" in part or ":\n\n\n" in part]


def test_the_picture_shows_every_truth_of_blocks_1_to_3() -> None:
    *by_line, beside = findings.drawn(paths.root()).axes
    for number, axes in zip((1, 2), by_line, strict=True):
        comparison = Block.of(number, paths.root()).comparison
        means = sorted(value for container in axes.containers for value in container[0].get_ydata())
        assert means == pytest.approx(sorted(truth.mean for truth in comparison.truths) if comparison else [])
    third = Block.of(3, paths.root()).comparison
    assert third is not None
    assert sorted(text.get_text() for text in beside.texts) == sorted(third.by_encoder)


@given(heights=st.lists(st.floats(-100, 100), min_size=1, max_size=20), gap=st.floats(0.1, 20))
def test_spread_heights_lie_apart_in_the_same_order(heights: list[float], gap: float) -> None:
    found = picture.spread(heights, gap)
    ordered = [height for _, height in sorted(zip(heights, found, strict=True))]
    assert all(upper - lower >= gap * (1 - 1e-6) - 1e-9 for lower, upper in pairwise(ordered))
    assert picture.spread(found, gap * 0.99) == pytest.approx(found)  # what is apart already stays
