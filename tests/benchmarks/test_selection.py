"""The selection of pictures and groups: drawn by the seed, without repetition, in whatever order items are given."""

import random
from collections import Counter
from collections.abc import Callable
from dataclasses import replace

import pytest

from vlmatch.benchmarks.selection import groups_of, same_category, selected
from vlmatch.benchmarks.suite import BenchmarkSuite
from vlmatch.errors import VlmatchError
from vlmatch.probes.concepts import concept
from vlmatch.probes.items import Item
from vlmatch.settings.buildable import DrawSettings

SOURCES = {"clipart": DrawSettings(items=8, of_category=5), "openmoji": DrawSettings(items=4, of_category=3)}


def test_the_selection_depends_on_the_seed_and_on_no_order(items: tuple[Item, ...]) -> None:
    shuffled = random.Random(0).sample(items, len(items))
    chosen = selected(items, SOURCES, 4, seed=0)
    assert chosen == selected(shuffled, SOURCES, 4, seed=0)
    assert chosen != selected(items, SOURCES, 4, seed=1)


def test_items_that_are_not_drawn_do_not_matter(items: tuple[Item, ...]) -> None:
    chosen = selected(items, SOURCES, 4, seed=0)
    last = next(item for item in items if item not in chosen and item.source == "openmoji")
    assert selected([item for item in items if item != last], SOURCES, 4, seed=0) == chosen


def test_sources_have_their_numbers_and_alternate(items: tuple[Item, ...]) -> None:
    chosen = selected(items, SOURCES, 4, seed=0)
    assert [item.source for item in chosen] == ["clipart"] * 4 + ["openmoji"] * 4 + ["clipart"] * 4
    counts = Counter((item.source, item.category) for item in chosen)
    assert counts["clipart", "animals"] <= 5
    assert counts["clipart", "tools"] <= 5
    assert max(counts["openmoji", name] for name in ("animals", "tools")) <= 3


def test_no_two_pictures_share_a_concept_or_caption(items: tuple[Item, ...]) -> None:
    renamed = [
        replace(item, caption=f"The {items[0].caption}s") if i % 3 == 1 else item for i, item in enumerate(items)
    ]
    renamed = [replace(item, concept="U+1") if i % 3 == 2 else item for i, item in enumerate(renamed)]
    few = {source: DrawSettings(items=4, of_category=9) for source in SOURCES}
    for seed in range(20):
        chosen = selected(renamed, few, 4, seed)
        assert len({item.concept for item in chosen}) == len({concept(item.caption) for item in chosen}) == 8


@pytest.mark.parametrize("wanted", [{"items": 12, "of_category": 5}, {"items": 6, "of_category": 9}])
def test_too_few_pictures_and_broken_groups_are_errors(items: tuple[Item, ...], wanted: dict[str, int]) -> None:
    with pytest.raises(VlmatchError, match=r"benchmark.sources.clipart.items=\d+.* \d+ pictures"):
        selected(items, {"clipart": DrawSettings(**wanted)}, 4, seed=0)


def test_groups_of_one_category_are_disjoint_and_whole(items: tuple[Item, ...]) -> None:
    without = [replace(item, category=None) if i == 3 else item for i, item in enumerate(items)]
    found = same_category(without, 4)
    assert groups_of(8, 4) == [[0, 1, 2, 3], [4, 5, 6, 7]]
    assert len(found) == 4  # of 6 each (5 where one has none)
    assert len({number for group in found for number in group}) == 16
    for group in found:
        assert len({(without[i].source, without[i].category) for i in group}) == 1
        assert 3 not in group


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"groups": {"all": ["caption_gain"]}}, r"benchmark.groups.all=\['caption_gain'\].* caption_choice"),
        ({"groups": {"all": []}}, r"benchmark.groups.all=\[\]"),
        ({"group": 1}, "benchmark.group=1"),
        ({"hard_group": 1}, "benchmark.hard_group=1"),
    ],
)
def test_wrong_settings_are_errors(
    make_suite: Callable[..., BenchmarkSuite], options: dict[str, object], message: str
) -> None:
    with pytest.raises(VlmatchError, match=message):
        make_suite(**options)
