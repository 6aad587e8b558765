"""One split of all data: nothing in one share is in another, whatever the sources; and it stays where it is."""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import imagehash
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from made_sources import draw, made
from vlmatch.configs import composed
from vlmatch.errors import NotHereError, VlmatchError
from vlmatch.objects import build, plain
from vlmatch.probes.items import Item, Split
from vlmatch.probes.pairs import ProbeEntry, ProbeSet
from vlmatch.probes.selection import ProbeOptions, build_probe_set
from vlmatch_study.split.building import split

SHARES = {
    "clipart": {"vlm_a": 0.6, "benchmarks": 0.2, "encoder_training": 0.2},
    "emoji": {"vlm_b": 0.4, "encoder_training": 0.4, "benchmarks": 0.2},
}
OPTIONS: dict[str, Any] = {"seed": 0, "max_words": 7, "distance": 4, "per_concept": 1000}
WORDS = ("frog", "owl", "kite", "red car", "house", "tree", "apple", "moon", "shoe", "drum", "fork", "whale")

Row = tuple[str, str, int, str | None]


@pytest.fixture(scope="module")
def pictures(tmp_path_factory: pytest.TempPathFactory) -> Iterator[list[Path]]:
    """Thirty pictures, and a cache of their hashes that is this module's own."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("VLMATCH_CACHE", str(tmp_path_factory.mktemp("cache")))
        yield draw(tmp_path_factory.mktemp("pictures"), 30)


def stamps_of(pictures: Sequence[Path], captions: Sequence[str]) -> ProbeSet:
    entries = [ProbeEntry(f"s{n}", pictures[n], caption) for n, caption in enumerate(captions)]
    return build_probe_set("stamps", entries, ProbeOptions(drop_duplicates=False))


def split_of(pictures: Sequence[Path], rows: Sequence[Row], **changes: Any) -> Split:
    """The split of rows (kind, caption, number of the picture, code point) and of two stamps."""
    by_kind = {
        kind: made(
            pictures[0].parent, kind, kind, [(text, pictures[at], point) for k, text, at, point in rows if k == kind]
        )
        for kind in ("clipart", "emoji")
    }
    return split(stamps_of(pictures, ["A frog.", "The owls."]), by_kind, SHARES, **{**OPTIONS, **changes})


def hashes(items: Sequence[Item]) -> np.ndarray:
    """Their perceptual hashes as bits, computed by the library from the image that the model sees."""
    found = []
    for item in items:
        with Image.open(item.image) as image:
            found.append(imagehash.phash(image.convert("RGB")).hash.ravel())
    return np.array(found)


def in_clusters(items: Sequence[Item], distance: int) -> list[set[int]]:
    """The groups of items that look alike or have one concept, by going from one to the next."""
    bits = hashes(items)
    near = (bits[:, None] != bits[None]).sum(axis=2) <= distance
    near |= np.array([[one.concept == other.concept for other in items] for one in items])
    groups: list[set[int]] = []
    for start in range(len(items)):
        if any(start in group for group in groups):
            continue
        group, edge = {start}, [start]
        while edge:
            further = set(np.flatnonzero(near[edge.pop()])) - group
            group |= further
            edge += further
        groups.append(group)
    return groups


rows_drawn = st.lists(
    st.one_of(
        st.tuples(st.just("clipart"), st.sampled_from(WORDS), st.integers(3, 29), st.none()),
        st.tuples(st.just("emoji"), st.sampled_from(WORDS), st.integers(3, 29), st.sampled_from(("1F1", "1F2", "1F3"))),
    ),
    max_size=25,
)


@settings(max_examples=40)
@given(rows=rows_drawn, seed=st.integers(0, 5))
def test_no_concept_and_no_similar_picture_is_in_two_shares(pictures: list[Path], rows: list[Row], seed: int) -> None:
    items = split_of(pictures, rows, seed=seed).items
    for group in in_clusters(items, OPTIONS["distance"]):
        assert len({items[index].share for index in group}) == 1
    points = {f"U+{row[3]}" for row in rows if row[0] == "emoji"}
    assert {item.concept for item in items if item.source == "emoji"} <= points


@settings(max_examples=25)
@given(rows=rows_drawn)
def test_the_probe_holds_all_stamps_and_nothing_else(pictures: list[Path], rows: list[Row]) -> None:
    found = split_of(pictures, rows)
    assert [item.id for item in found.share("probe")] == ["stamps/s0", "stamps/s1"]
    assert not any(item.concept in {"frog", "owl"} for item in found.items if item.source == "clipart")
    kinds = {"vlm_a": {"clipart"}, "vlm_b": {"emoji"}}
    assert all(item.source in kinds[item.share] for item in found.items if item.share in kinds)


@settings(max_examples=25)
@given(rows=rows_drawn, more=rows_drawn.filter(bool))
def test_an_added_item_moves_only_what_it_is_joined_to(pictures: list[Path], rows: list[Row], more: list[Row]) -> None:
    before = {item.id: item for item in split_of(pictures, rows).items}
    kind, caption, picture, point = more[0]
    added = [*rows, (kind, caption, picture, f"9{point}" if point else None)]
    after = split_of(pictures, added).items
    everything = split_all(pictures, added)
    newest = max((item for item in everything if item.source == kind), key=lambda item: item.id)
    joined = next(group for group in groups_of(everything, added) if newest.id in group)
    for item in after:
        if item.id in before and item.id not in joined:
            assert item.share == before[item.id].share


def split_all(pictures: Sequence[Path], rows: Sequence[Row]) -> list[Item]:
    """Every candidate and stamp as an item, dropped or not."""
    found = [
        Item(f"stamps/s{n}", pictures[n], "", concept, "stamps", None, "") for n, concept in enumerate(("frog", "owl"))
    ]
    for kind in ("clipart", "emoji"):
        mine = [row for row in rows if row[0] == kind]
        found += [Item(f"{kind}/{n:04}", pictures[row[2]], "", row[1], kind, None, "") for n, row in enumerate(mine)]
    return found


def groups_of(items: Sequence[Item], rows: Sequence[Row]) -> list[set[str]]:
    """The ids that belong together: by caption and picture, and then by code point."""
    groups = [{items[index].id for index in group} for group in in_clusters(items, OPTIONS["distance"])]
    emoji = [row for row in rows if row[0] == "emoji"]
    for point in {row[3] for row in emoji}:
        same = {f"emoji/{n:04}" for n, row in enumerate(emoji) if row[3] == point}
        touched = [group for group in groups if group & same]
        groups = [group for group in groups if not group & same] + [set().union(*touched)]
    return groups


def test_the_same_input_gives_the_same_split_and_another_seed_another(pictures: list[Path]) -> None:
    rows: list[Row] = [("clipart", word, 3 * n, None) for n, word in enumerate(WORDS[2:], start=1) if 3 * n < 30]
    assert split_of(pictures, rows).items == split_of(pictures, rows).items
    assert split_of(pictures, rows).fingerprint == split_of(pictures, rows).fingerprint
    assert len({split_of(pictures, rows, seed=seed).fingerprint for seed in range(6)}) > 1


def test_a_further_picture_of_a_concept_goes_where_the_concept_is(pictures: list[Path]) -> None:
    rows: list[Row] = [("clipart", "kite", 6, None), ("clipart", "house", 9, None)]
    before = {item.id: item.share for item in split_of(pictures, rows).items}
    after = {item.id: item.share for item in split_of(pictures, [*rows, ("clipart", "The kites 2", 12, None)]).items}
    assert before.items() <= after.items()
    assert after["clipart/0002"] == after["clipart/0000"]


def test_shares_have_their_parts(tmp_path: Path, pictures: list[Path]) -> None:
    letters = "abcdefghij"
    names = [f"{a}{b}{c}x" for a in letters for b in letters for c in letters][:600]
    drawn = draw(tmp_path, 900, seed=1)
    unlike = [image for number, image in enumerate(drawn) if number % 3 != 2]
    source = made(
        tmp_path, "clipart", "clipart", [(name, image, None) for name, image in zip(names, unlike, strict=True)]
    )
    found = split(stamps_of(pictures, ["A frog.", "An owl."]), {"x": source}, SHARES, **OPTIONS)
    assert len(found.items) == 602
    for share, part in SHARES["clipart"].items():
        n_items, n_concepts = found.counts()[share, "clipart"]
        assert n_items == n_concepts
        assert n_items / 600 == pytest.approx(part, abs=0.06)


def test_what_cannot_be_used_is_counted(pictures: list[Path], tmp_path: Path) -> None:
    broken = tmp_path / "broken.png"
    broken.write_bytes(b"\x89PNG no more")
    captions = [
        "",
        "of it",
        "it had one two three four five six",
        "iconset of owls",
        "kite",
        "kite",
        "kite",
        "whale",
    ]
    at = [pictures[n] for n in (3, 4, 5, 6, 9, 9, 12)]
    source = made(tmp_path, "clipart", "clipart", list(zip(captions, [*at, broken], [None] * 8, strict=True)))
    found = split(stamps_of(pictures, ["A frog.", "An owl."]), {"x": source}, SHARES, **{**OPTIONS, "per_concept": 1})
    assert found.dropped["clipart"] == {
        "no caption": 3,
        "more than 7 words": 1,
        "repeated": 1,
        "beyond 1 of a concept": 1,
        "image can't be decoded": 1,
    }
    sheet = "\n".join(found.data_sheet())
    assert "dropped of clipart: no caption 3" in sheet
    assert found.fingerprint in sheet


@pytest.mark.parametrize("table", [{"vlm_a": 0.5}, {"vlm_a": 1.5, "benchmarks": -0.5}, {"probe": 1.0}, {}])
def test_parts_that_are_no_shares_are_refused(pictures: list[Path], table: dict[str, float]) -> None:
    with pytest.raises(VlmatchError, match=r"split\.shares\.clipart=.*add up to 1"):
        split(stamps_of(pictures, ["A frog.", "An owl."]), {}, {"clipart": table}, **OPTIONS)


def test_a_share_that_is_not_there_is_named_with_those_that_are(pictures: list[Path]) -> None:
    with pytest.raises(
        VlmatchError, match=r"share 'vlm_c' has no items of all sources; the shares are \['probe of stamps'\]"
    ):
        split_of(pictures, []).share("vlm_c")


def test_a_source_that_differs_from_its_dvc_file_is_refused(pictures: list[Path], tmp_path: Path) -> None:
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine.dvc").write_text("outs:\n- {md5: abc.dir, size: 1, nfiles: 1, path: mine}\n")
    source = made(tmp_path / "mine", "clipart", "clipart", [])
    with pytest.raises(VlmatchError, match=r"differs from mine\.dvc.*task=fetch task\.what=split"):
        split(stamps_of(pictures, ["A frog.", "An owl."]), {"x": source}, SHARES, **OPTIONS)


def test_sources_that_are_not_there_name_the_command(tmp_path: Path) -> None:
    with pytest.raises(NotHereError, match="task=fetch"):
        build(plain(composed(f"sources={tmp_path}").split))
