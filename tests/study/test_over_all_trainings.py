"""Ceilings, every score, captions, the other LLM: figures are scipy's on the committed tables, answers follow them."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from itertools import combinations
from statistics import fmean

import numpy as np
import pytest
from scipy.stats import pearsonr, spearmanr

from made_truths import runs
from vlmatch import paths
from vlmatch.evidence.truths import Comparison, comparisons
from vlmatch_study.blocks.worlds import world_of
from vlmatch_study.findings import captions, ceilings, every_score, other_llm
from vlmatch_study.findings.holm import holm
from vlmatch_study.findings.scored import followed
from vlmatch_study.findings.trained import Trained, trained
from vlmatch_study.rows import read

STUDY = paths.root() / "study"


@pytest.fixture(autouse=True)
def few_pools(monkeypatch: pytest.MonkeyPatch) -> None:
    """Regrets from few pools: the figures that are compared with scipy's do not depend on them."""
    monkeypatch.setattr("vlmatch.evidence.replay.POOLS", 500)
    monkeypatch.setattr("vlmatch.evidence.replay.RESAMPLES", 10)


@pytest.fixture(scope="module")
def first() -> Comparison:
    """The truths of study/results."""
    return trained(paths.root())[0].comparison


def committed_truths() -> dict[str, float]:
    """By encoder, the mean truth over seeds of the first recipe, from the committed CSV of runs."""
    rows = [row for row in read(STUDY / "findings" / "trained.csv") if row["recipe"] == "embedded"]
    by_encoder: dict[str, list[float]] = {}
    for row in rows[:72]:  # those of study/results come first
        by_encoder.setdefault(row["encoder"], []).append(float(row["truth"]))
    assert {len(each) for each in by_encoder.values()} == {2}
    return {name: fmean(each) for name, each in by_encoder.items()}


def test_every_score_s_figures_are_scipy_s_on_the_committed_tables(first: Comparison) -> None:
    rows, truth = read(STUDY / "worlds" / "embedded.csv"), committed_truths()
    world = world_of("scores", first, rows, every_score.COMPARED)
    assert world is not None
    found = followed(world, every_score.COMPARED, every_score.COMPARED)
    assert len(found) == 15
    assert [each.corrected for each in found] == holm([each.p for each in found])
    for each in found:
        (ingredient,) = each.rule.ingredients
        sign = 1 if ingredient.higher_is_better else -1
        own = spearmanr([sign * float(row[each.rule.name]) for row in rows], [truth[row["encoder"]] for row in rows])
        assert (each.spearman.value, each.p) == pytest.approx(tuple(own), abs=1e-9)


def test_choices_for_captions_have_scipy_s_figures_and_the_range_is_that_of_their_table(first: Comparison) -> None:
    rows, truth = read(STUDY / "worlds" / "caption_choices.csv"), committed_truths()
    own = [row for row in rows if row["llm"] == "smollm2"]
    families = {row["encoder"]: row["family"] for row in read(STUDY / "worlds" / "embedded.csv")}
    found = captions.by_choice(first, own, families)
    assert len(found) == 9 * 2 * 4
    for each in found:
        here = [row for row in own if (row["layer"], row["pooling"], row["centring"]) == each.choice]
        sign = -1 if each.score == "gw" else 1
        scipy_s = spearmanr([sign * float(row[each.score]) for row in here], [truth[row["encoder"]] for row in here])
        assert (each.found.spearman.value, each.found.p) == pytest.approx(tuple(scipy_s), abs=1e-9)
    said, values = captions.answer(found), [e.found.spearman.value or 0.0 for e in found if e.score == "gw"]
    assert f"GW's Spearman ranges from {min(values):.2f}".replace("0.", ".") in said
    assert f"to {max(values):.2f}".replace("0.", ".") in said
    assert captions.choices_table(found).count("\n") == 1 + 18
    assert captions.spearman_table(found).count("\n") == 1 + 9


def made(truths: Mapping[str, Sequence[float]], label: str = "made", **changes: object) -> Trained:
    """A truth of pretrained encoders."""
    (comparison,) = comparisons(runs(truths, control=False, **changes))
    return Trained(label, comparison)


def drawn(seed: int, seeds: int, names: str = "abcdefgh") -> dict[str, list[float]]:
    values = np.random.default_rng(seed).normal(0.2, 0.05, (len(names), seeds))
    return {name: each.tolist() for name, each in zip(names, values, strict=True)}


def test_a_ceiling_is_scipy_s_over_the_encoders_that_both_truths_have() -> None:
    one, other = drawn(0, 3), drawn(1, 2, "bcdefghi")
    (found,) = ceilings.ceilings([made(one, "one"), made(other, "other"), made(drawn(2, 2), "llm", llm="another")])
    means = [[fmean(each[name]) for name in "bcdefgh"] for each in (one, other)]
    assert found.correlation.n == 7
    assert found.correlation.spearman == pytest.approx(spearmanr(*means).statistic, abs=1e-9)
    for truths, seeds, agreed in zip((one, other), (3, 2), found.seeds, strict=True):
        by_seed = [[truths[name][seed] for name in "bcdefgh"] for seed in range(seeds)]
        own = [spearmanr(a, b).statistic for a, b in combinations(by_seed, 2)]
        assert (agreed.pairs, agreed.spearman) == (len(own), pytest.approx(np.mean(own), abs=1e-9))
    assert ceilings.ceilings([made(one), made(drawn(1, 2, "cdefghij"))]) == []  # six in common
    assert ceilings.ceilings_table([]) == ""


def test_the_agreement_of_two_llms_is_scipy_s_and_stands_beside_that_of_seeds() -> None:
    other, usual = drawn(3, 1, "abcdefghijkl"), drawn(4, 3, "abcdefghijkl")
    found = other_llm.agreement(made(other, llm="gemma3_270m").comparison, made(usual, llm="smollm2").comparison)
    assert found is not None
    assert [pair.of_two_llms for pair in found.pairs] == [True] * 3 + [False] * 3
    columns = {("gemma3_270m", 0): [each[0] for each in other.values()]}
    columns |= {("smollm2", seed): [each[seed] for each in usual.values()] for seed in range(3)}
    for pair in found.pairs:
        one, two = columns[pair.one], columns[pair.other]
        assert pair.pearson == pytest.approx(pearsonr(one, two).statistic, abs=1e-9)
        assert pair.spearman == pytest.approx(spearmanr(one, two).statistic, abs=1e-9)
    assert found.lower is not None
    across, within = (found.mean("spearman", of_two_llms) for of_two_llms in (True, False))
    assert found.lower[0] == pytest.approx((within or 0) - (across or 0), abs=1e-9)
    assert other_llm.pairs_table(found).count("\n") == 1 + 6


@pytest.mark.parametrize(
    ("llm_plays", "said"),
    [
        (True, "the LLM plays a part, or trainings with Gemma 3 270M are noisier"),
        (False, "the difference is not significant"),
    ],
)
def test_block_5_s_answer_says_whether_the_llm_plays_a_part(llm_plays: bool, said: str) -> None:
    random = np.random.default_rng(5)
    exact, noise = random.normal(0.2, 0.05, 12), random.normal(0, 0.002, (12, 3))
    usual = {name: (exact[at] + noise[at, :2]).tolist() for at, name in enumerate("abcdefghijkl")}
    order = exact[::-1] if llm_plays else exact
    other = {name: [float(order[at] + noise[at, 2])] for at, name in enumerate("abcdefghijkl")}
    found = other_llm.agreement(made(other, llm="gemma3_270m").comparison, made(usual, llm="smollm2").comparison)
    assert said in other_llm.answer(found, finished=True)
    assert "predicted without any influence of the LLM: .95" in other_llm.answer(found, finished=True)


def test_block_5_compares_with_the_usual_llm_s_truths_of_the_same_recipe_and_suite() -> None:
    gemma = made(drawn(6, 1), llm="gemma3_270m")
    recipe = replace(gemma.comparison.setting.recipe, name="another")
    truths = [gemma, made(drawn(7, 1), recipe=recipe, llm="smollm2"), made(drawn(8, 2), llm="smollm2")]
    assert other_llm.counterpart(gemma.comparison, truths) is truths[2].comparison
    assert other_llm.counterpart(gemma.comparison, truths[:2]) is None
    assert other_llm.agreement(gemma.comparison, made(drawn(8, 2, "fghij"), llm="smollm2").comparison) is None


def test_scores_by_either_llm_s_captions_are_scipy_s() -> None:
    rows = [
        row
        for row in read(STUDY / "worlds" / "caption_choices.csv")
        if (row["layer"], row["pooling"], row["centring"]) == captions.PAPER
    ]
    names = list(dict.fromkeys(row["encoder"] for row in rows))[:12]
    truth = dict(zip(names, np.random.default_rng(9).random((12, 1)).tolist(), strict=True))
    found = other_llm.by_captions(made(truth, llm="gemma3_270m").comparison, rows)
    assert len(found) == 2 * 4
    for each in found:
        values = {row["encoder"]: float(row[each.score]) for row in rows if row["llm"] == each.llm}
        sign = -1 if each.score == "gw" else 1
        own = spearmanr([sign * values[name] for name in names], [truth[name][0] for name in names])
        assert (each.correlation.spearman, each.p) == pytest.approx(tuple(own), abs=1e-9)
    assert [each.corrected for each in found] == holm([each.p for each in found])


def test_a_variant_of_block_1_and_an_encoder_with_one_seed_are_no_part_of_what_seeds_agree_on() -> None:
    drawn = np.random.default_rng(5).normal(0.2, 0.05, (9, 2)).tolist()
    truths = dict(zip([*"abcdefg", "a_whitened", "h"], drawn, strict=True)) | {"h": drawn[8][:1]}
    (comparison,) = comparisons(runs(truths, control=False))
    expected = spearmanr(*np.array(drawn[:7]).T).statistic
    line = ceilings.seeds_table([Trained("made", comparison)]).splitlines()[-1]
    assert line.startswith("| made | 7 | 2 | ")
    assert float(line.split(" | ")[3]) == pytest.approx(expected, abs=0.006)
    few = comparisons(runs(dict(list(truths.items())[:6]), control=False))[0]
    assert ceilings.seeds_table([Trained("few", few)]) == ""


def test_a_truth_s_reliability_and_a_score_s_ceiling_are_those_of_simulated_seeds() -> None:
    random = np.random.default_rng(0)
    exact = random.normal(size=200_000)
    seeds = exact + random.normal(scale=0.6, size=(3, len(exact)))
    one, other, third = seeds
    mean, again = seeds.mean(axis=0), (exact + random.normal(scale=0.6, size=(3, len(exact)))).mean(axis=0)
    two_seeds = np.mean([np.corrcoef(one, other)[0, 1], np.corrcoef(one, third)[0, 1], np.corrcoef(other, third)[0, 1]])
    found = ceilings.Seeds(3, 3, float(two_seeds))
    assert found.reliability == pytest.approx(np.corrcoef(mean, again)[0, 1], abs=0.01)
    assert found.ceiling == pytest.approx(np.corrcoef(mean, exact)[0, 1], abs=0.01)
    assert ceilings.Seeds(2, 1, -0.2).ceiling is None


def test_two_truths_that_differ_in_seeds_alone_are_expected_to_agree_as_their_ceilings_say() -> None:
    drawn = np.random.default_rng(6).normal(0.2, 0.05, (7, 1)) + np.random.default_rng(7).normal(0, 0.01, (7, 2))
    (comparison,) = comparisons(runs(dict(zip("abcdefg", drawn.tolist(), strict=True)), control=False))
    (found,) = ceilings.ceilings([Trained("one", comparison), Trained("other", comparison)])
    agreed = spearmanr(*drawn.T).statistic
    assert found.expected == pytest.approx(2 * agreed / (1 + agreed))


def test_a_truth_of_few_encoders_is_called_preliminary() -> None:
    assert every_score.so_far(9, 32) == " Preliminary: only 9 of 32 encoders have this truth so far."
    assert every_score.so_far(32, 32) == ""
    parts = every_score.sections(paths.root())["scores"].parts
    told = [("Preliminary" in part.above) == ("(32 encoders" not in part.above) for part in parts]
    assert told
    assert all(told)


def test_a_range_of_regrets_is_told_only_if_regrets_are_known(first: Comparison) -> None:
    own = [row for row in read(STUDY / "worlds" / "caption_choices.csv") if row["llm"] == "smollm2"]
    families = {row["encoder"]: row["family"] for row in read(STUDY / "worlds" / "embedded.csv")}
    found = captions.by_choice(first, own, families)
    assert captions.answer(found).count("Its regret") == 2
    unpriced = [replace(each, found=replace(each.found, regrets={})) for each in found]
    said = captions.answer(unpriced)
    assert "regret" not in said
    assert (
        "Its correlation with the truth is significant for 12 of the 18 choices; for 4 of these it is negative." in said
    )
