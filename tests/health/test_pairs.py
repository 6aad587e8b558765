"""What captions, images and labels show before any model: planted repetitions and endings, and silence without them."""

from pathlib import Path

import pytest

from vlmatch.health.pairs import ending_of, health_of_captions, health_of_pairs
from vlmatch.probes.pairs import Pair, ProbeCounts, ProbeSet

WITH_STOPS = [f"Thing number {i}." for i in range(30)]
VARIED = [f"Thing number {i}" for i in range(30)]


def probe(n: int, *, same_images: int = 0, labelled: int = 0) -> ProbeSet:
    pairs = tuple(
        Pair(
            f"id{i}",
            Path(f"{i}.png"),
            f"Caption {i}",
            f"sha{0 if i < same_images else i}",
            "label" if i < labelled else None,
        )
        for i in range(n)
    )
    return ProbeSet("made", pairs, ProbeCounts(n, n, n, n))


@pytest.mark.parametrize(
    ("caption", "ending"),
    [("A cat.", "."), ("A cat. ", "."), ("A Cat", "cat"), ("Only 2!", "!"), ("No. 7", "7"), ("", ""), ("犬。", "。")],
)
def test_an_ending_is_the_last_mark_or_the_last_word(caption: str, ending: str) -> None:
    assert ending_of(caption) == ending


def test_captions_with_one_ending_are_found_where_the_last_token_is_read() -> None:
    (found,) = health_of_captions([*WITH_STOPS, *VARIED[:10]], "last", name="llm")
    assert (found.check, found.side, found.model, found.warning) == ("same_ending", "captions", "llm", True)
    assert found.figure == 30 / 40
    assert "30 of 40 end in '.'" in found.measured
    assert "{caption}" in found.remedy


@pytest.mark.parametrize(
    ("captions", "pooling", "template"),
    [
        (VARIED, "last", "{caption}"),
        (WITH_STOPS, "mean", "{caption}"),
        (WITH_STOPS, "unknown", "{caption}"),
        (WITH_STOPS, "last", "{caption} In one word:"),
        (WITH_STOPS, "last", "chat"),
        ([], "last", "{caption}"),
    ],
)
def test_other_captions_poolings_and_templates_have_no_finding(
    captions: list[str], pooling: str, template: str
) -> None:
    assert health_of_captions(captions, pooling, template=template) == ()


def test_words_before_the_caption_do_not_change_its_ending() -> None:
    assert health_of_captions(WITH_STOPS, "last", template="An image of {caption}")


def test_captions_that_differ_in_spaces_and_capitals_repeat() -> None:
    captions = [*VARIED, "a cat", "A  Cat ", "a dog"]
    (found,) = health_of_captions(captions)
    assert found.check == "repeated_captions"
    assert found.items == (30, 31)
    assert found.figure == pytest.approx(2 / 33)
    assert found.warning
    few = health_of_captions([*[f"caption {i}" for i in range(300)], "x", "X"])
    assert [each.warning for each in few] == [False]


def test_a_probe_in_order_has_no_finding() -> None:
    assert health_of_pairs(probe(12)) == ()
    assert health_of_pairs(probe(12, labelled=12)) == ()


def test_fewer_pairs_than_neighbours() -> None:
    (found,) = health_of_pairs(probe(11))
    assert (found.check, found.figure, found.warning) == ("few_pairs", 11, True)
    assert "wanted at least 12" in found.measured
    assert [each.check for each in health_of_pairs(probe(5), k=4)] == ["few_pairs"]
    assert health_of_pairs(probe(5), k=3) == ()


def test_repeated_images_are_found_by_their_bytes() -> None:
    (found,) = health_of_pairs(probe(20, same_images=3))
    assert (found.check, found.items, found.warning) == ("repeated_images", (0, 1, 2), True)


def test_labels_for_some_pairs_are_a_note() -> None:
    (found,) = health_of_pairs(probe(20, labelled=15))
    assert (found.check, found.figure, found.warning) == ("partial_labels", 0.75, False)
    assert found.items == (15, 16, 17, 18, 19)
