"""Errors over items: from stored likelihoods, paired between encoders, and what is said where they are not stored."""

import shutil
from itertools import combinations
from pathlib import Path

import numpy as np
import pytest

from made_results import result
from vlmatch import paths
from vlmatch.errors import VlmatchError
from vlmatch.evidence.best import pooled_error
from vlmatch.evidence.definitions import definition_of
from vlmatch.evidence.likelihoods import ITEMS, Likelihoods
from vlmatch.evidence.truths import Comparison, comparisons, comparisons_in
from vlmatch.results import Result, read

STORED = Likelihoods((paths.results(),))


@pytest.fixture(scope="module")
def runs() -> list[Result]:
    return read(paths.results())


@pytest.fixture(scope="module")
def ours() -> Comparison:
    (comparison,) = comparisons_in([paths.results()])
    return comparison


def npz(folder: Path, run: Result) -> Path:
    return (folder / run.run).with_suffix(".npz")


def with_likelihoods(runs: list[Result]) -> list[Result]:
    return [run for run in runs if npz(paths.results(), run).is_file()]


def test_every_stored_likelihood_gives_the_standard_error_that_was_measured(runs: list[Result]) -> None:
    found = with_likelihoods(runs)
    assert len(found) >= 49
    for run in found[::6]:
        for name, benchmark in run.benchmarks.items():
            influence = STORED.influence(run, {name: 1.0})
            assert influence.standard_error == pytest.approx(benchmark.standard_error, abs=1e-5), (run.run, name)
        stored = definition_of(run, 2)
        error = STORED.influence(run, stored.weights(run)).standard_error
        assert error == pytest.approx(run.mean.standard_error, abs=1e-5), run.run


def test_the_error_that_a_result_alone_tells_is_never_below_that_of_its_items(runs: list[Result]) -> None:
    for run in with_likelihoods(runs)[::6]:
        made_of = definition_of(run)
        assert STORED.influence(run, made_of.weights(run)).standard_error <= made_of.error_bound(run) + 1e-6


def test_paired_errors_are_those_of_drawing_groups_of_items_again(
    ours: Comparison, random: np.random.Generator
) -> None:
    """Groups of 8 are drawn anew within sources; caption gain alone, which is a plain mean over items."""
    one, other = (ours.by_encoder[name] for name in ("efficientnet_lite0", "craft_vgg16_bn"))
    moved = [STORED.influence(truth.runs[0], {"caption_gain": 1.0}).moved for truth in (one, other)]
    by_group = (moved[0] - moved[1]).reshape(60, 8).sum(axis=1)
    lines = (paths.results() / "embedded/smollm2-vlm_a" / ITEMS).read_text().splitlines()[1::8]
    sources = np.array([line.split(",")[1] for line in lines])
    drawn = np.zeros(4000)
    for source in set(sources):
        within = by_group[sources == source]
        drawn += random.choice(within, (4000, len(within))).sum(axis=1)
    influences = [STORED.influence(truth.runs[0], {"caption_gain": 1.0}) for truth in (one, other)]
    assert (influences[0] - influences[1]).standard_error == pytest.approx(drawn.std(), rel=0.06)


def test_pairing_makes_differences_of_encoders_more_certain(ours: Comparison) -> None:
    paired = [pair for pair in combinations(ours.pretrained[:8], 2) if pair[0].paired_with(pair[1])]
    assert len(paired) >= 6
    shrunk = [one.item_error_of_difference(other) / np.hypot(one.item_error, other.item_error) for one, other in paired]
    assert np.mean(shrunk) < 0.85
    one, other = paired[0]
    assert one.error_of_difference(other) == pytest.approx(
        np.hypot(one.item_error_of_difference(other), ours.between_seeds)  # two seeds in each of the two truths
    )
    assert one.errors_above(other) == pytest.approx((one.mean - other.mean) / one.error_of_difference(other))


def test_an_encoder_without_likelihoods_is_not_paired(ours: Comparison) -> None:
    lite1, lite0 = (ours.by_encoder[f"efficientnet_lite{number}"] for number in (1, 0))
    assert not lite1.paired_with(lite0)
    assert lite1.item_error_of_difference(lite0) == pytest.approx(np.hypot(lite1.item_error, lite0.item_error))


def copied(runs: list[Result], folder: Path) -> Result:
    run = with_likelihoods(runs)[0]
    npz(folder, run).parent.mkdir(parents=True)
    for path in (run.run, run.run.with_suffix(".npz"), run.run.with_name(ITEMS)):
        shutil.copy(paths.results() / path, folder / path)
    return run


def test_a_later_folders_likelihoods_count_and_without_them_none_do(runs: list[Result], tmp_path: Path) -> None:
    run = copied(runs, tmp_path)
    weights = definition_of(run).weights(run)
    both = Likelihoods((paths.results(), tmp_path))
    assert both.influence(run, weights).standard_error == STORED.influence(run, weights).standard_error
    npz(tmp_path, run).unlink()
    assert both.influence(run, weights) is None
    assert Likelihoods().influence(run, weights) is None


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda path: path.write_bytes(b"no zip"), "is damaged .*; restore or remove it"),
        (lambda path: path.write_bytes(b""), "is damaged"),
        (lambda path: np.savez(path, captions=np.zeros((480, 480))), "is damaged"),
        (
            lambda path: np.savez(path, captions=np.zeros((8, 8)), categories=np.zeros((8, 15))),
            "480 items of 15 categories were asked",
        ),
        (
            lambda path: np.savez(path, captions=np.zeros((480, 480)), categories=np.zeros((480, 15))),
            "but the result beside them says",
        ),
        (lambda path: path.with_name(ITEMS).write_text("item\na\n"), "wanted the columns source, category, tokens"),
        (lambda path: path.with_name(ITEMS).write_bytes(b"\xff\xfe"), "wanted the columns source, category, tokens"),
    ],
)
def test_files_that_are_damaged_or_do_not_fit_are_one_line(
    runs: list[Result], tmp_path: Path, damage, message: str
) -> None:
    run = copied(runs, tmp_path)
    damage(npz(tmp_path, run))
    with pytest.raises(VlmatchError, match=message) as error:
        Likelihoods((tmp_path,)).influence(run, definition_of(run).weights(run))
    assert "\n" not in str(error.value)


def test_seeds_are_pooled_over_encoders_and_the_blind_model_keeps_its_own() -> None:
    seeds = {"a": (0.30, 0.34), "b": (0.20, 0.21), "of one seed": (0.4,), "blind": (0.0, 0.0)}
    made = [
        result(name, mean, seed, control=name == "blind")
        for name, means in seeds.items()
        for seed, mean in enumerate(means)
    ]
    (comparison,) = comparisons(made)
    pooled = np.sqrt((0.04**2 + 0.01**2) / 2 / 2)
    assert comparison.between_seeds == pytest.approx(pooled)
    errors = {truth.encoder: truth.seed_error for truth in comparison.truths}
    assert errors == pytest.approx(
        {"a": pooled / 2**0.5, "b": pooled / 2**0.5, "of one seed": pooled, "blind": 0}, abs=1e-9
    )


def test_the_pooled_error_of_two_encoders_is_that_of_their_difference() -> None:
    (comparison,) = comparisons(
        [result(name, mean, seed) for name, mean in (("a", 0.3), ("b", 0.2)) for seed in (0, 1)]
    )
    one, other = comparison.truths
    assert pooled_error(comparison) == pytest.approx(one.error_of_difference(other))
    (alone,) = comparisons([result("a", 0.3)])
    with pytest.raises(VlmatchError, match="two or more pretrained encoders"):
        pooled_error(alone)


def test_fewer_seeds_make_the_pooled_error_larger(ours: Comparison) -> None:
    one, two = (pooled_error(ours, seeds) ** 2 for seeds in (1, 2))
    assert one - two == pytest.approx(ours.between_seeds**2)
