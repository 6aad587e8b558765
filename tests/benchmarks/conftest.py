"""Made-up items without pictures, and small suites."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from vlmatch.benchmarks.suite import BenchmarkSuite
from vlmatch.probes.items import Item, Split

WORDS = ("cat", "hammer", "fox", "red axe", "dog", "old saw", "bee", "drill", "hen", "rope", "ape", "nail")
CATEGORIES = ("animals", "tools")


@pytest.fixture
def items() -> tuple[Item, ...]:
    """Twelve items of each of two sources, alternately of two categories; all concepts and captions differ."""
    return tuple(
        Item(f"{source}/{i}", Path(f"{i}.png"), caption, caption, source, CATEGORIES[i % 2], "benchmarks")
        for source in ("clipart", "openmoji")
        for i, word in enumerate(WORDS)
        if (caption := f"{source[0]} {word}")
    )


@pytest.fixture
def split(items: tuple[Item, ...]) -> Split:
    """A split of which all items are for benchmarks."""
    return Split(items)


@pytest.fixture
def make_suite() -> Callable[..., BenchmarkSuite]:
    """A function that makes suites of 8 pictures of each source, in groups of 4, and of 2 of one category."""

    def make(**options: Any) -> BenchmarkSuite:
        each = {"items": 8, "of_category": 5}
        settings: dict[str, Any] = {
            "name": "tiny",
            "version": 3,
            "share": "benchmarks",
            "sources": {"clipart": each, "openmoji": each},
            "group": 4,
            "hard_group": 2,
            "seed": 0,
            "groups": {
                "naming": ["caption_choice", "retrieval"],
                "detail": ["caption_choice_hard"],
                "category": ["category"],
            },
            "batch_size": 5,
            "course": 0.5,
        }
        return BenchmarkSuite(**{**settings, **options})

    return make
