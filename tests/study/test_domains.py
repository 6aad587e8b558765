"""Block 6: orders by probes of several domains, and how far a probe follows its own domain's truth."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np
import pytest
import yaml
from scipy.stats import rankdata, spearmanr

from vlmatch import paths
from vlmatch.configs import composed, pool
from vlmatch.evidence.definitions import BLIND_NATS
from vlmatch.evidence.truths import RANDOM, comparisons
from vlmatch.objects import plain
from vlmatch.results import Benchmark, Result
from vlmatch.results import read as read_results
from vlmatch_study.blocks.block import Block
from vlmatch_study.evidence.domains import PROBES, TABLE, agreement, on_sets, values, with_places
from vlmatch_study.evidence.worlds import EMBEDDED
from vlmatch_study.findings import other_domain
from vlmatch_study.findings.other_domain import Floats, interaction, interval
from vlmatch_study.rows import read


def test_a_probe_that_is_its_domains_truth_gains_all_that_the_truths_differ_by() -> None:
    objects, drawings = np.random.default_rng(0).normal(size=(2, 30))
    apart = 1 - spearmanr(objects, drawings).statistic
    assert interaction(objects, drawings, objects, drawings) == pytest.approx(apart)
    assert interaction(drawings, objects, objects, drawings) == pytest.approx(-apart)
    assert interaction(objects, objects, objects, drawings) == pytest.approx(0)


def test_the_interval_covers_none_where_probes_follow_one_quality_and_not_where_each_follows_its_own(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(other_domain, "RESAMPLES", 300)
    rng = np.random.default_rng(1)
    quality, objects, drawings = rng.normal(size=(3, 60))
    noise = 0.3 * rng.normal(size=(4, 60))
    families = [str(number // 2) for number in range(60)]
    low, high = interval(families, *(quality + each for each in noise))
    assert low < 0 < high
    assert interval(families, objects + noise[0], drawings + noise[1], objects, drawings)[0] > 0.3


def test_two_sets_of_pairs_agree_as_far_as_the_encoders_differ() -> None:
    rng = np.random.default_rng(2)
    captions = rng.normal(size=(60, 6))
    images = [captions + strength * rng.normal(size=(60, 6)) for strength in (0, 0.3, 0.7, 1.2, 2.5)]
    found = on_sets(images, captions, ["cka"], 30)["cka"]
    assert found.shape == (3, 2, 5)
    assert min(spearmanr(one, other).statistic for one, other in found) > 0.9
    one, other = on_sets(images[1:], captions, ["cka"], 30, seed=1)["cka"][0]
    assert not np.isclose(one, other).any(), "the sets have no pair in common"


def test_places_are_counted_within_each_probe() -> None:
    rows = [{"probe": p, "encoder": e, "mutual_nn": v} for p, e, v in (("a", "x", 0.1), ("a", "y", 0.3), ("b", "x", 1))]
    assert [row["place"] for row in with_places(rows)] == [2, 1, 1]


@pytest.mark.skipif(not TABLE.is_file(), reason="the block's scores are not committed yet")
def test_the_committed_scores_are_of_the_same_encoders_on_each_probe() -> None:
    rows = read(TABLE)
    names = {probe: [row["encoder"] for row in rows if row["probe"] == probe] for probe in PROBES}
    assert names["stamps"] == names["furniture"]
    known = {row["encoder"]: row for row in read(EMBEDDED)}
    for row in (row for row in rows if row["probe"] == "stamps"):
        assert row["mutual_nn"] == known[row["encoder"]]["mutual_nn"]
    for probe in PROBES:
        places = [int(row["place"]) for row in rows if row["probe"] == probe]
        assert places == rankdata(-values(rows, probe, "mutual_nn"), method="min").tolist()
    assert len(list(agreement(rows))) == 9


def test_the_block_measures_what_block_4_trained() -> None:
    folder = paths.root() / "study" / "conf" / "experiment"
    swept = {
        name: yaml.safe_load((folder / f"{name}.yaml").read_text())["hydra"]["sweeper"]["params"]
        for name in ("block4", "block4_others", "block6")
    }
    trained = [name.strip() for part in ("block4", "block4_others") for name in swept[part]["encoder"].split(",")]
    assert swept["block6"]["encoder"] == "${vlmatch.pool:encoders}"
    assert sorted(trained) == sorted(pool("encoders"))
    assert swept["block6"]["recipe.seed"] == swept["block4_others"]["recipe.seed"]
    measured, trained_by = composed("experiment=block6"), composed("experiment=block4")
    assert measured.task.runs == trained_by.task.runs
    assert plain(measured.recipe) == plain(trained_by.recipe)
    assert measured.results != trained_by.results


def made(truths: Mapping[str, Sequence[float]], suite: str, version: int = 1) -> list[Result]:
    """Results of recipe embedded3 whose truth of version 3 has these values, one for each seed, in every part of it."""
    any_run = read_results(paths.results())[0]
    of = {
        "recipe": replace(any_run.recipe, name="embedded3"),
        "suite": replace(any_run.suite, name=suite, version=version),
        "milestones": (),
    }
    return [
        replace(any_run, encoder=name, seed=seed, control=name == RANDOM,
                benchmarks={key: at(each, value) for key, each in any_run.benchmarks.items()}, **of)
        for name, values in truths.items() for seed, value in enumerate(values)
    ]  # fmt: skip


def at(benchmark: Benchmark, value: float) -> Benchmark:
    """The benchmark with the score that lies `value` above chance, as a fraction of what a truth divides by."""
    chance, scale = benchmark.chance or 0.0, BLIND_NATS if benchmark.chance is None else 1 - benchmark.chance
    score = chance + value * scale
    sources = {name: replace(each, score=score) for name, each in benchmark.by_source.items()}
    return replace(benchmark, score=score, standard_error=0.001, by_source=sources)


def test_block_6_s_answer_follows_from_the_truths(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(other_domain, "RESAMPLES", 100)
    rows = read(TABLE)
    names = [row["encoder"] for row in rows if row["probe"] == "stamps"]
    own, stamps = (values(rows, probe, "mutual_nn") for probe in reversed(PROBES))
    seeds = np.random.default_rng(3).normal(0, 1e-4, (2, len(names)))

    def said(drawings: Floats, objects: Floats, random: float = 0.0, of: Floats = seeds) -> str:
        one, two = (dict(zip(names, (each + of).T.tolist(), strict=True)) for each in (drawings, objects))
        stored = {
            "results": made(one, "embedded", 2),
            "6/results": made({**two, RANDOM: (random, random)}, "furniture"),
        }
        monkeypatch.setattr("vlmatch_study.blocks.block.read", lambda folder: stored[str(folder).split("blocks/")[1]])
        return other_domain.section(Block.of(6, paths.root())).text

    whole = said(stamps, own)
    assert "Preliminary" in whole
    assert "by MutualNN: the probe must be the user's own" in whole
    assert "| MutualNN | stamps | 1.00 | 1.00 | 1.00 | .91 |" in whole
    assert "Without the categories" not in whole
    assert "for another reason than their domain" in said(own, stamps)
    assert "any captioned pictures do" in said((own + stamps) / 2, (own + stamps) / 2)
    assert "the block says nothing" in said(stamps, own, random=1.0)
    unrelated = np.random.default_rng(4).permutation(np.linspace(0.1, 0.3, len(names)))
    assert "no probe sees it" in said(unrelated, unrelated[::-1])
    once = said(stamps, own, of=seeds[:1])
    assert f"over families ({len(names)} encoders)" in once
    assert re.search(r"The interaction is \S+ \[.*\] by MutualNN\. Whether .* needs two seeds, so that is open", once)


def test_two_domains_of_one_order_agree_as_two_seeds_do_and_two_of_their_own_do_not() -> None:
    rng = np.random.default_rng(8)
    quality, common = rng.normal(size=200), rng.normal(scale=0.3, size=(3, 200))  # each VLM's noise is in both truths
    alike = np.concatenate([quality + common, quality + common])
    found = other_domain.correlations(alike)
    pairs = [spearmanr(alike[i], alike[j]).statistic for i, j in ((0, 1), (0, 2), (1, 2))]
    assert found == pytest.approx([np.mean(pairs)] * 3)
    assert other_domain.lower(*found) == pytest.approx(0), "the same VLM's noise does not make domains look alike"
    apart = np.concatenate([quality + common, quality + common + rng.normal(size=200)])
    assert other_domain.lower(*other_domain.correlations(apart)) > 0.2


def test_parts_of_a_truth_are_compared_with_errors_of_their_own() -> None:
    (whole,) = comparisons(made({"a": (0.1, 0.3), "b": (0.2, 0.2)}, "selection"))
    part = whole.made_of(["category"])
    assert [each.name for each in part.definition.parts] == ["category"]
    assert part.between_seeds == pytest.approx(np.sqrt((0.02 + 0) / 2))
    assert part.by_encoder["a"].mean == pytest.approx(0.2)
    stored = whole.by_encoder["a"].runs[0].groups["category"]
    assert part.by_encoder["a"].item_error == pytest.approx(stored.standard_error)
