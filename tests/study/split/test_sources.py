"""Captions of all sources in one form, and what counts as one concept."""

import pytest

from vlmatch.probes.concepts import concept, phrase, words_of
from vlmatch_study.split.components import components, position


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("Lemon (Half Slice)", "lemon half slice"),
        ("fried_egg_02", "fried egg"),
        ("T-Shirt 1", "t-shirt"),
        ("Fool\u2019s gold!", "fool's gold"),
        ("Éléphant", "éléphant"),
        ("007", ""),
        ("", ""),
    ],
)
def test_a_phrase_is_bare_lower_case_words(text: str, expected: str) -> None:
    assert phrase(text) == expected


@pytest.mark.parametrize(
    "captions",
    [
        ("A frog.", "frog", "The Frogs", "frog_12", "FROG's"),
        ("red cars", "Red Car 3", "a red-car"),
        ("glass", "The glass."),
        ("gas", "Gas 2"),
        ("bus", "a bus"),
    ],
)
def test_case_digits_articles_plurals_and_punctuation_make_no_other_concept(captions: tuple[str, ...]) -> None:
    assert len({concept(caption) for caption in captions}) == 1


def test_different_things_stay_different() -> None:
    captions = ("frog", "red frog", "fog", "glass", "gas", "")
    assert len({concept(caption) for caption in captions}) == len(captions)


def test_words_are_those_of_the_concepts() -> None:
    assert words_of(["A red car.", "Cars"]) == {"red", "car"}


def test_items_are_joined_by_a_key_or_a_look_and_through_others() -> None:
    keys = [("frog",), ("U+1F438", "frog"), ("U+1F438",), ("owl",), ("kite",)]
    found = components(keys, [0, 2**60, 0b1111 << 8, 2**60 + 1, 2**63 - 1], distance=1)
    assert found[0] == found[1] == found[2] == found[3] != found[4]


def test_nothing_has_no_components() -> None:
    assert components([], [], distance=4) == []


def test_a_position_depends_on_one_key_only_and_on_the_seed() -> None:
    keys = [f"concept {number}" for number in range(50)]
    whole = position(keys, seed=0)
    assert whole in {position([key], seed=0) for key in keys}
    assert position(keys[::-1], seed=0) == whole
    assert len({position(keys, seed=seed) for seed in range(5)}) == 5


def test_positions_fill_the_unit_interval_evenly() -> None:
    found = sorted(position([str(number)], seed=0) for number in range(4000))
    assert max(abs(value - rank / 4000) for rank, value in enumerate(found)) < 0.03  # Kolmogorov-Smirnov, p > .001
