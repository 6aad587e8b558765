"""docs/findings.md follows from the committed results, and the decisions follow from their rules."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from scipy.stats import permutation_test, spearmanr, ttest_rel

from made_truths import runs
from vlmatch import paths
from vlmatch.errors import VlmatchError
from vlmatch.evidence.truths import comparisons
from vlmatch.results import Result, read
from vlmatch_study.evidence.worlds import read as rows_of
from vlmatch_study.findings import __main__ as findings
from vlmatch_study.findings import confound, dtypes, new_members, page, repeated
from vlmatch_study.findings.block import Block
from vlmatch_study.findings.holm import holm
from vlmatch_study.findings.runs import write as write_runs
from vlmatch_study.findings.scored import world_of
from vlmatch_study.findings.section import Part, Section, of_blocks
from vlmatch_study.findings.stronger_truth import Cell, cells, chosen
from vlmatch_study.marked import replaced, without_marks


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
    monkeypatch.setattr("vlmatch_study.findings.block.read", lambda folder: [])
    assert of_blocks(blocks, lambda _: made).text == "None of its 141 trainings is finished."
    blocks = [Block.of(4, paths.root()), Block.of("4_others", paths.root())]
    recipe = replace(read(paths.results())[0].recipe, name=blocks[0].recipes[0])
    done = runs({blocks[1].encoders[0]: [0.1]}, recipe=recipe, dtype="bfloat16")
    monkeypatch.setattr("vlmatch_study.findings.block.read", lambda folder: done)
    assert of_blocks(blocks, lambda _: made).text == (
        "1 of its 141 trainings is finished, in bfloat16. An answer.\n\nAbove a table:\n\n| a |"
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


VARIANTS = [f"{name}{ending}" for name in ("a", "b", "c") for ending in confound.VARIANTS.values()]


def of_variants() -> dict[str, tuple[float, ...]]:
    """Two seeds of each variant of three encoders."""
    drawn = np.random.default_rng(0).normal(0.2, 0.1, (len(VARIANTS), 2))
    return {name: tuple(map(float, truths)) for name, truths in zip(VARIANTS, drawn, strict=True)}


def test_block_1_s_figures_are_scipy_s() -> None:
    truths = of_variants()
    mean = {name: np.mean(each) for name, each in truths.items()}
    scores = np.random.default_rng(1).random((len(VARIANTS), len(confound.SCORES)))
    rows = [{"encoder": name, **dict(zip(confound.SCORES, map(repr, each), strict=True))}
            for name, each in zip(VARIANTS, scores.tolist(), strict=True)]  # fmt: skip
    (comparison,) = comparisons(runs(truths))
    found = confound.followed(comparison, rows)
    truth = np.array([mean[name] for name in VARIANTS])
    for each, column in zip(found, scores.T, strict=True):
        assert each.over_all == pytest.approx(spearmanr(column, truth).statistic, abs=1e-9)
        own = [spearmanr(*parts).statistic for parts in zip(column.reshape(3, 4), truth.reshape(3, 4), strict=True)]
        assert each.within.spearman == pytest.approx(np.mean(own), abs=1e-9)
        own = [spearmanr(*parts).statistic
               for parts in zip(column.reshape(3, 4)[:, :3], truth.reshape(3, 4)[:, :3], strict=True)]  # fmt: skip
        assert each.without_noise.spearman == pytest.approx(np.mean(own), abs=1e-9)
    whitened = confound.changes(comparison, ["a", "b", "c"])[0]
    pairs = [[mean[name] for name in "abc"], [mean[f"{name}_whitened"] for name in "abc"]]
    assert whitened.p == pytest.approx(ttest_rel(*pairs).pvalue, abs=1e-9)
    assert whitened.mean == pytest.approx(np.mean(pairs[1]) - np.mean(pairs[0]), abs=1e-12)


def test_block_1_s_p_is_scipy_s_exact_one_for_one_encoder_and_that_of_drawn_orders_for_several() -> None:
    random = np.random.default_rng(3)
    truth, values = random.random((2, 12))
    rows = [{"encoder": name} for name in VARIANTS]
    exact = permutation_test(
        (values[:4],), lambda x: spearmanr(x, truth[:4]).statistic, permutation_type="pairings", alternative="greater"
    )
    assert confound.within(rows[:4], truth[:4], values[:4], True) == pytest.approx((exact.statistic, exact.pvalue))

    def statistic(ordered: np.ndarray) -> float:
        return float(np.mean([spearmanr(*parts).statistic for parts in zip(ordered, truth.reshape(3, 4), strict=True)]))

    found, p = confound.within(rows, truth, values, True)
    drawn = [statistic(random.permuted(values.reshape(3, 4), axis=1)) for _ in range(2000)]
    assert p == pytest.approx(np.mean(np.array(drawn) >= found - 1e-9), abs=0.04)


def test_block_1_s_answer_names_the_score_that_the_truth_follows() -> None:
    truths = of_variants()
    rows = [{"encoder": name, **dict.fromkeys(confound.SCORES, str(at % 5)), "participation_ratio": str(np.mean(each))}
            for at, (name, each) in enumerate(truths.items())]  # fmt: skip
    (comparison,) = comparisons(runs(truths))
    said = confound.answer([], confound.followed(comparison, rows), finished=True)
    assert said.startswith("Within encoders, the truth follows participation ratio (1.00) significantly, but not ")
    assert "that are not noise it follows participation ratio (1.00) significantly, but not " in said


def test_block_1_counts_the_pairs_of_one_encoder_s_variants_that_a_score_orders_as_the_truth_does() -> None:
    truths = {"a": (0.4,), "a_whitened": (0.2,), "a_noise": (0.0,), "b": (0.3,), "b_noise": (0.301,)}
    values = {"a": 3, "a_whitened": 4, "a_noise": 1, "b": 1, "b_noise": 2, "b_whitened": 5}
    rows = [{"encoder": name, **dict.fromkeys(confound.SCORES, str(value))} for name, value in values.items()]
    (comparison,) = comparisons(runs(truths))
    for each in confound.ordered(comparison, rows):
        assert (each.with_noise, each.others, each.clear) == ((3, 3), (0, 1), (0, 1))
    assert confound.orders(confound.ordered(comparison, rows)).count("| 3 of 3 | 0 of 1 | 0 of 1 |") == 4
    assert confound.orders(confound.ordered(comparison, [])) == ""


def test_block_1_s_tables_stand_with_some_of_the_trainings() -> None:
    (comparison,) = comparisons(runs({"a": (0.2,), "a_noise": (0.1,), "b": (0.3,)}))
    made = confound.changes(comparison, ["a", "b"])
    assert [each.variant for each in made if each.differences] == ["noise"]
    assert confound.differences(made, ["a", "b"]).count("\n") == 2
    assert confound.truths(comparison, ["a", "b"]).count("\n") == 4
    assert confound.followed(comparison, []) == []
    assert confound.answer(made, [], finished=False) == "The question stays open."


def new_rows() -> list[dict[str, str]]:
    """The committed scores of block 3."""
    return rows_of(Block(3, ()).folder / "scores.csv")


@pytest.mark.parametrize(("by", "refuted"), [("mutual_nn", 0), ("gw", 1)])
def test_block_3_s_answer_follows_from_the_truths(by: str, refuted: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("vlmatch.evidence.replay.POOLS", 1000)
    monkeypatch.setattr("vlmatch.evidence.replay.RESAMPLES", 20)
    rows = new_rows()
    sign = {"mutual_nn": 1, "gw": 2}[by]  # GW is a distance, and truths that grow with it are against the rule
    truths = {row["encoder"]: (sign * float(row[by]), sign * float(row[by]) + 0.001) for row in rows}
    (comparison,) = comparisons(runs(truths))
    found = new_members.replayed(comparison, rows)
    assert found is not None
    assert (found.encoders, found.families, found.seeds) == (14, 11, (0, 1))
    said = new_members.answer(found, finished=True)
    assert ("The pooled rule is worth following: refuted." in said) == bool(refuted)
    assert ("chosen on: refuted." in said) == bool(refuted)
    assert found.by_chance is not None
    assert (found.by_chance < 0.01) == (by == "mutual_nn"), (
        "by these truths the rule is perfect, or the wrong way round"
    )
    assert "refuted. " not in new_members.answer(found, finished=False), "no verdict while trainings are missing"
    assert new_members.regrets([found]).count("\n") == 2 + len(new_members.RULES)
    table = new_members.places(comparison, rows).splitlines()
    assert [line.split(" | ")[4] for line in table[2:]] == [str(place) for place in range(1, 15)]


def test_block_3_waits_for_as_many_encoders_as_a_pool_has_and_for_seeds_that_all_have() -> None:
    rows = new_rows()
    truths = {row["encoder"]: (float(row["mutual_nn"]), 0.1)[: 1 + (at < 3)] for at, row in enumerate(rows)}
    (comparison,) = comparisons(runs(truths))
    world = world_of("made", comparison, rows, new_members.RULES)
    assert world is not None
    assert world.truth.shape == (14, 1)
    assert new_members.replayed(comparison, rows[:7]) is None
    assert "| without a health warning (8) |" in new_members.correlations(comparison, rows).splitlines()[0] + " "
    smaller = new_members.replayed(comparison, rows, size=new_members.SMALLER)
    assert smaller is not None
    assert None not in smaller.outcomes[1].fraction, "14 encoders of 11 families have an interval in pools of 5"
    assert "too few" in new_members.answer(None, finished=False)


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
    assert repeated.agreement(comparison).count("\n") == 1 + 15


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
    monkeypatch.setattr("vlmatch_study.findings.block.read", lambda folder: [] if "6" in folder.parts else once)
    parts = findings.parts(root)
    for number, planned in ((1, 32), (2, 32), (3, 28)):
        said = parts[f"block {number}"]
        assert said.startswith(f"{16 * seeds if number < 3 else 14 * seeds} of its {planned} trainings are finished")
        assert ("Preliminary" in said or "stays open" in said) == (seeds == 1)
        assert ("bfloat16 minus float32" in said) == ("without the trainings in float32" in said) == (seeds == 2)
        assert "| enc" in said
    assert "Spearman of" in parts["block 4"]
    assert not [name for name, part in parts.items() if "\n\n\n" in part or ":\n\n\n" in part]


def test_the_picture_shows_every_truth_of_blocks_1_and_3() -> None:
    left, right = findings.drawn(paths.root()).axes
    first, third = (Block.of(number, paths.root()).comparison for number in (1, 3))
    assert first is not None
    assert third is not None
    means = sorted(value for container in left.containers for value in container[0].get_ydata())
    assert means == pytest.approx(sorted(first.by_encoder[name].mean for name in Block.of(1, paths.root()).encoders))
    assert sorted(text.get_text() for text in right.texts) == sorted(third.by_encoder)
