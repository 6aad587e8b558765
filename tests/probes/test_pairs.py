"""A probe set keeps each caption and image once, counts what it read, and knows when it has changed."""

from pathlib import Path

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from vlmatch.errors import VlmatchError
from vlmatch.probes.pairs import Entry, Pair, build, normalised, with_digests

captions = st.sampled_from(["A frog.", "a  FROG.", "A toad.", "Eine Kröte.", "x"])
images = st.sampled_from(["i0", "i1", "i2", "i3"])


def pairs_of(rows: list[tuple[str, str]]) -> list[Pair]:
    """Pairs with numbered ids from captions and image digests."""
    return [Pair(str(number), Path(image), caption, image) for number, (caption, image) in enumerate(rows)]


@given(st.lists(st.tuples(captions, images), min_size=2, max_size=30))
def test_exactly_those_pairs_are_dropped_that_repeat_one_kept_before(rows: list[tuple[str, str]]) -> None:
    pairs = pairs_of(rows)
    expected: list[Pair] = []
    for pair in pairs:
        if all(normalised(pair.caption) != normalised(k.caption) and pair.image != k.image for k in expected):
            expected.append(pair)
    assume(len(expected) > 1)
    probe = build("p", pairs, drop_duplicates=True)
    assert list(probe.pairs) == expected
    assert probe.counts.read == len(rows)
    assert probe.counts.distinct_captions == len({normalised(caption) for caption, _ in rows})
    assert probe.counts.distinct_images == len({image for _, image in rows})
    assert probe.counts.kept == len(probe)


@given(st.lists(st.tuples(captions, images), min_size=2, max_size=30))
def test_nothing_is_dropped_unless_asked(rows: list[tuple[str, str]]) -> None:
    assert list(build("p", pairs_of(rows), drop_duplicates=False).pairs) == pairs_of(rows)


@given(st.lists(st.tuples(captions, images), min_size=3, max_size=20, unique=True), st.data())
def test_the_fingerprint_sees_captions_images_ids_and_order_but_not_places_and_labels(
    rows: list[tuple[str, str]], data: st.DataObject
) -> None:
    pairs = pairs_of(rows)
    fingerprint = build("p", pairs, drop_duplicates=False).fingerprint
    moved = [Pair(p.id, Path("elsewhere") / p.image, p.caption, p.image_sha256, "a label") for p in pairs]
    assert build("q", moved, drop_duplicates=False).fingerprint == fingerprint
    place = data.draw(st.integers(0, len(rows) - 1))
    one = pairs[place]
    for changed in (
        Pair(one.id, one.image, one.caption + "!", one.image_sha256),
        Pair(one.id, one.image, one.caption, "another image"),
        Pair("another id", one.image, one.caption, one.image_sha256),
    ):
        other = [*pairs[:place], changed, *pairs[place + 1 :]]
        assert build("p", other, drop_duplicates=False).fingerprint != fingerprint
    assert build("p", pairs[::-1], drop_duplicates=False).fingerprint != fingerprint


def test_a_limit_keeps_the_first_pairs_and_reads_no_further() -> None:
    rows = [("a", "0"), ("A", "1"), ("b", "2"), ("c", "3"), ("d", "4")]
    probe = build("p", pairs_of(rows), drop_duplicates=True, limit=2)
    assert probe.captions == ["a", "b"]
    assert (probe.counts.read, probe.counts.kept) == (3, 2)


@pytest.mark.parametrize("limit", [1, 0, -3])
def test_a_limit_below_two_is_refused(limit: int) -> None:
    with pytest.raises(VlmatchError, match=f"limit={limit}; a geometry needs at least 2 pairs"):
        build("p", pairs_of([("a", "0"), ("b", "1")]), drop_duplicates=True, limit=limit)


def test_one_pair_only_is_refused() -> None:
    with pytest.raises(VlmatchError, match="probe 'p': 1 pair left of 1 read; a geometry needs at least 2"):
        build("p", pairs_of([("a", "0")]), drop_duplicates=True)
    with pytest.raises(VlmatchError, match="probe 'p': 0 pairs left of 0 read"):
        build("p", [], drop_duplicates=True)


def test_a_repeated_id_is_refused_by_name() -> None:
    twice = [Pair("cat", Path("a"), "a", "0"), Pair("cat", Path("b"), "b", "1")]
    with pytest.raises(VlmatchError, match="id 'cat' appears twice"):
        build("p", twice, drop_duplicates=True)


@pytest.mark.parametrize("caption", ["", " \t\n", "\u00a0"])
def test_an_empty_caption_is_refused_by_name(caption: str) -> None:
    with pytest.raises(VlmatchError, match="the caption of '1' is empty"):
        build("p", pairs_of([("a", "0"), (caption, "1")]), drop_duplicates=False)


def test_a_missing_image_is_refused_by_name(tmp_path: Path) -> None:
    entry = Entry("7", tmp_path / "none.png", "a")
    with pytest.raises(VlmatchError, match=r"none\.png' of '7' can't be read \(No such file or directory\)"):
        list(with_digests("p", [entry]))


def test_many_files_are_hashed_in_order(tmp_path: Path) -> None:
    entries = []
    for number in range(600):
        (tmp_path / str(number)).write_bytes(str(number % 10).encode())
        entries.append(Entry(str(number), tmp_path / str(number), f"caption {number}"))
    pairs = list(with_digests("p", entries))
    assert [pair.id for pair in pairs] == [entry.id for entry in entries]
    assert [pair.image_sha256 for pair in pairs[:10]] == [pair.image_sha256 for pair in pairs[590:]]
    assert len({pair.image_sha256 for pair in pairs}) == 10


def test_the_data_sheet_tells_both_distinct_counts() -> None:
    rows = [("a", "0"), ("A", "1"), ("b", "1"), ("c", "2")]
    sheet = "\n".join(build("p", pairs_of(rows), drop_duplicates=True, source="s", licence="MIT").data_sheet())
    for words in ("3 pairs kept of 4 read", "distinct captions: 3", "distinct images: 3", "source: s", "licence: MIT"):
        assert words in sheet
