"""The split of the real sources, where they have been fetched: no concept and no similar picture in two shares."""

from collections import Counter
from pathlib import Path

import numpy as np
import pytest

from vlmatch import paths, results
from vlmatch.benchmarks.suite import BenchmarkSuite
from vlmatch.configs import composed
from vlmatch.objects import build, plain
from vlmatch.probes.concepts import concept
from vlmatch.probes.images import MAX_PIXELS
from vlmatch.probes.items import Split
from vlmatch.probes.pairs import ProbeEntry
from vlmatch.probes.reading import Reader
from vlmatch.probes.shares import share_of
from vlmatch_study.split.building import hashed_of
from vlmatch_study.split.sources import Candidate

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def real() -> Split:
    """The split as study/conf/split/default.yaml makes it."""
    config = composed().split
    missing = [name for name in config.sources if not Path(config.sources[name].path).is_dir()]
    hashed = list((paths.cache() / "probes").glob("split-openmoji-*.json"))
    if missing or not hashed or not Path(config.probe.path).is_dir():
        pytest.skip(f"not fetched here: {missing or 'stamps or hashes'} (task=fetch task.what=split)")
    found: Split = build(plain(config))
    return found


@pytest.fixture(scope="module")
def with_objects(real: Split) -> Split:
    """The split with the rendered objects, as study/conf/domain/furniture.yaml makes it."""
    config = plain(composed("probe=furniture").probe)["split"]
    if not Path(config["sources"]["furniture"]["path"]).is_dir():
        pytest.skip("not fetched here: furniture (task=fetch probe=furniture)")
    found: Split = build(config)
    assert found.extends == real.fingerprint
    return found


def test_the_split_is_the_one_that_stored_results_were_measured_on(real: Split) -> None:
    folder = paths.root() / "study"
    assert {result.split for result in results.read(folder / "results")} == {real.fingerprint}


def test_objects_are_in_two_shares_that_are_like_nothing_else(with_objects: Split) -> None:
    shares = {"furniture_probe", "furniture_benchmarks"}
    added = [item for item in with_objects.items if item.source == "furniture"]
    others = [item for item in with_objects.items if item.source != "furniture"]
    assert {item.share for item in added} == shares
    assert not {item.share for item in others} & shares
    concepts = [{item.concept for item in added if item.share == share} for share in sorted(shares)]
    assert not concepts[0] & concepts[1]
    assert not (concepts[0] | concepts[1]) & {name for item in others for name in (item.concept, concept(item.caption))}
    found: dict[str, list[int]] = {}
    for source in {item.source for item in with_objects.items}:
        items = [item for item in with_objects.items if item.source == source]
        hashes = hashed_of([Candidate(i.id, i.image, i.caption) for i in items], source, "", Counter())
        for item, read_item in zip(items, hashes, strict=True):
            found.setdefault(item.share if item.share in shares else "the split", []).append(read_item.hash)
    arrays = {share: np.array(values, dtype=np.uint64) for share, values in found.items()}
    for one, other in (("furniture_probe", "furniture_benchmarks"), *((share, "the split") for share in shares)):
        assert np.bitwise_count(arrays[one][:, None] ^ arrays[other]).min() > 4, (one, other)


def test_the_suite_of_objects_finds_its_pictures(with_objects: Split) -> None:
    config = plain(composed("experiment=block6").benchmark)
    suite: BenchmarkSuite = build(config)
    items = suite.items(with_objects)
    assert len(items) == len({item.concept for item in items}) == 248
    plan = suite.plan(items, suite.categories or ())
    assert plan.categories == tuple(sorted(config["categories"]))
    assert 4 * len(plan.hard) > 160


def test_shares_have_no_concept_in_common(real: Split) -> None:
    shares: dict[str, str] = {}
    for item in real.items:
        assert shares.setdefault(item.concept, item.share) == item.share, item
    assert len({item.concept for item in real.share("vlm_a")}) >= 1000


def test_shares_have_no_similar_pictures(real: Split) -> None:
    found: dict[str, list[int]] = {}
    for source in {item.source for item in real.items}:
        items = [item for item in real.items if item.source == source]
        reader = Reader(f"split-{source}", decode=True, max_pixels=MAX_PIXELS)
        for item, read in zip(items, reader.read(ProbeEntry(i.id, i.image, i.caption) for i in items), strict=True):
            found.setdefault(item.share, []).append(read.perceptual_hash or 0)
    arrays = {share: np.array(values, dtype=np.uint64) for share, values in found.items()}
    for one, first in arrays.items():
        for other, second in arrays.items():
            if one < other:
                assert np.bitwise_count(first[:, None] ^ second).min() > 4, (one, other)


def test_the_clipart_probe_is_disjoint_from_all_else(real: Split) -> None:
    probe = share_of(real, "probe_clipart", sources=("clipart",))
    others = {item.image for item in real.items if item.share != "probe_clipart"}
    assert not others & {pair.image for pair in probe.pairs}
    assert len(probe) > 150


@pytest.mark.parametrize(("name", "pictures", "most"), [("embedded", 480, 62), ("embedded2", 640, 100)])
def test_the_suite_finds_its_pictures(real: Split, name: str, pictures: int, most: int) -> None:
    suite: BenchmarkSuite = build(plain(composed(f"benchmark={name}").benchmark))
    items = suite.items(real)
    assert len(items) == len({item.concept for item in items}) == pictures
    for part in (items, items[:120]):
        assert Counter(item.source for item in part)["clipart"] == pytest.approx(0.47 * len(part), rel=0.07)
    plan = suite.plan(items, [item.category for item in real.share("vlm_b") if item.category])
    assert len(plan.categories) == 15
    assert 4 * len(plan.hard) > 380
    assert Counter(item.category for item in items).most_common(1)[0][1] <= most
