"""Seeded samples without replacement, for probes and for training data."""

import hashlib
from collections.abc import Callable, Iterable
from typing import TypeVar

T = TypeVar("T")


def draw_order(items: Iterable[T], seed: int, name: Callable[[T], object]) -> list[T]:
    """All items in a random order that `seed` and each item's `name` decide; the first n are a sample of n.

    The order in which the items are given does not count, and a larger sample contains every smaller one.
    """
    return sorted(items, key=lambda item: hashlib.sha256(f"{seed} {name(item)}".encode()).digest())
