"""Block 6: orders by probes of several domains, and how far a probe follows its own domain's truth."""

import numpy as np
import pytest
import yaml
from scipy.stats import rankdata, spearmanr

from vlmatch import paths
from vlmatch.configs import composed, pool
from vlmatch.objects import plain
from vlmatch_study.evidence.domain_table import interaction, interval
from vlmatch_study.evidence.domains import PROBES, TABLE, agreement, on_sets, values, with_places
from vlmatch_study.evidence.worlds import EMBEDDED, read


def test_a_probe_that_is_its_domains_truth_gains_all_that_the_truths_differ_by() -> None:
    objects, drawings = np.random.default_rng(0).normal(size=(2, 30))
    apart = 1 - spearmanr(objects, drawings).statistic
    assert interaction(objects, drawings, objects, drawings) == pytest.approx(apart)
    assert interaction(drawings, objects, objects, drawings) == pytest.approx(-apart)
    assert interaction(objects, objects, objects, drawings) == pytest.approx(0)


def test_the_interval_covers_none_where_probes_follow_one_quality_and_not_where_each_follows_its_own() -> None:
    rng = np.random.default_rng(1)
    quality, objects, drawings = rng.normal(size=(3, 60))
    noise = 0.3 * rng.normal(size=(4, 60))
    families = [str(number // 2) for number in range(60)]
    low, high = interval(families, *(quality + each for each in noise), resamples=300)
    assert low < 0 < high
    assert interval(families, objects + noise[0], drawings + noise[1], objects, drawings, resamples=300)[0] > 0.3


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
