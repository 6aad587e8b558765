"""A domain beside a split: the split stays as it is, and nothing added is in it or in two shares."""

from collections.abc import Iterator, Sequence
from itertools import combinations
from pathlib import Path
from typing import Any

import imagehash
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from made_sources import draw, made
from vlmatch.configs import composed
from vlmatch.errors import VlmatchError
from vlmatch.objects import plain
from vlmatch.probes.concepts import concept
from vlmatch.probes.items import Item, Split
from vlmatch_study.split.added import with_domain

SHARES = {"furniture": {"furniture_probe": 0.5, "furniture_benchmarks": 0.5}}
OPTIONS: dict[str, Any] = {"fetched_by": "", "seed": 0, "max_words": 7, "distance": 4, "per_concept": 1000}
NAMES = ("chair", "Chairs", "box", "red lamp", "sofa", "bed", "oven", "frog")
Row = tuple[str, int]


@pytest.fixture(scope="module")
def pictures(tmp_path_factory: pytest.TempPathFactory) -> Iterator[list[Path]]:
    """Thirty pictures, every third like the one before, and a cache of their hashes that is this module's own."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("VLMATCH_CACHE", str(tmp_path_factory.mktemp("cache")))
        yield draw(tmp_path_factory.mktemp("pictures"), 30)


def before(pictures: Sequence[Path]) -> Split:
    """A split of four items, of pictures 0, 3, 6 and 9."""
    rows = (("frog", "vlm_a"), ("house", "benchmarks"), ("bed", "probe"), ("drum", "vlm_b"))
    return Split(
        tuple(
            Item(f"clipart/{n}", pictures[3 * n], name, name, "clipart", None, share)
            for n, (name, share) in enumerate(rows)
        )
    )


def added(pictures: Sequence[Path], rows: Sequence[Row], **changes: Any) -> Split:
    """That split with rows (name, number of the picture)."""
    source = made(pictures[0].parent, "furniture", "furniture", [(name, pictures[at], None) for name, at in rows])
    return with_domain(before(pictures), {"furniture": source}, SHARES, **{**OPTIONS, **changes})


def alike(one: Item, other: Item) -> bool:
    """Whether two items must not be apart: one concept, or hashes of the library within 4 bits."""
    with Image.open(one.image) as a, Image.open(other.image) as b:
        near = imagehash.phash(a.convert("RGB")) - imagehash.phash(b.convert("RGB")) <= 4
    return bool(near) or concept(one.caption) == concept(other.caption)


@settings(max_examples=25)
@given(
    rows=st.lists(st.tuples(st.sampled_from(NAMES), st.integers(0, 29)), max_size=12),
    seed=st.integers(0, 3),
)
def test_no_added_picture_is_like_one_of_another_share(pictures: list[Path], rows: list[Row], seed: int) -> None:
    split, found = before(pictures), added(pictures, rows, seed=seed)
    assert found.items[: len(split.items)] == split.items
    assert found.extends == split.fingerprint
    for one, other in combinations(found.items, 2):
        if other.source == "furniture" and one.share != other.share:
            assert not alike(one, other), (one, other)


def test_what_is_like_an_item_of_the_split_is_dropped_and_counted(pictures: list[Path]) -> None:
    rows = [("The beds", 12), ("sofa", 6), ("sofa", 15), ("lamp", 18), ("oven", 21), ("oven", 21)]
    found = added(pictures, rows)
    assert [item.caption for item in found.items[4:]] == ["lamp", "oven"]  # the second sofa has the first one's concept
    assert found.dropped["furniture"] == {"in a group with a picture of the split": 3, "repeated": 1}
    assert {item.share for item in found.items[4:]} <= {"furniture_probe", "furniture_benchmarks"}


def test_without_any_new_picture_the_split_stays(pictures: list[Path]) -> None:
    found = added(pictures, [("frog", 12)])
    assert found.items == before(pictures).items
    assert found.fingerprint == before(pictures).fingerprint


def test_parts_that_do_not_add_up_are_refused(pictures: list[Path]) -> None:
    with pytest.raises(VlmatchError, match=r"shares\.furniture=.*add up to 1"):
        with_domain(before(pictures), {}, {"furniture": {"a": 0.7}}, **OPTIONS)


def test_probe_and_suite_take_different_shares_of_one_domain() -> None:
    config = composed("experiment=block6")
    probe, suite = plain(config.probe), plain(config.benchmark)
    assert {probe["share"], suite["share"]} == set(suite["split"]["shares"]["furniture"])
    assert probe["split"] == suite["split"]
    assert suite["split"]["split"] == plain(config.split) == plain(composed().split)
    assert (suite["name"], suite["version"]) == ("furniture", 1)
    assert suite["sources"].keys() == suite["split"]["sources"].keys()
