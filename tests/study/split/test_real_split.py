"""The split of the real sources, where they have been fetched: no concept and no similar picture in two shares."""

from collections import Counter
from pathlib import Path

import numpy as np
import pytest

from vlmatch import paths
from vlmatch.benchmarks.suite import BenchmarkSuite
from vlmatch.configs import composed
from vlmatch.objects import build, plain
from vlmatch.probes.images import MAX_PIXELS
from vlmatch.probes.items import Split
from vlmatch.probes.pairs import ProbeEntry
from vlmatch.probes.reading import Reader
from vlmatch.probes.shares import share_of

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


def test_the_suite_finds_its_pictures(real: Split) -> None:
    suite: BenchmarkSuite = build(plain(composed("benchmark=embedded").benchmark))
    items = suite.items(real)
    assert len(items) == len({item.concept for item in items}) == 480
    for part in (items, items[:120]):
        assert Counter(item.source for item in part)["clipart"] == pytest.approx(0.467 * len(part), rel=0.07)
    plan = suite.plan(items, [item.category for item in real.share("vlm_b") if item.category])
    assert len(plan.categories) == 15
    assert 4 * len(plan.hard) > 380
    assert Counter(item.category for item in items).most_common(1)[0][1] <= 62
