"""Which held-out pictures are measured, and which of them are each other's alternatives; all drawn by a seed."""

import hashlib
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence

from vlmatch.errors import VlmatchError
from vlmatch.probes.concepts import concept
from vlmatch.probes.items import Item


def selected(
    items: Iterable[Item], sources: Mapping[str, Mapping[str, int]], group: int, seed: int
) -> tuple[Item, ...]:
    """Some items of each source, no two of all with one concept or caption, a `group` of one source after the other.

    sources: by source, how many `items` of it are taken, a multiple of `group`, and how many of one category at most.
    Items are gone through in the order of a hash of seed and id, so that the order in which they are given, and what
    is not chosen, change nothing. Sources alternate by their sizes, so that every beginning is about as mixed as all.

    Raises VlmatchError where a source has too few.
    """
    ordered = sorted(items, key=lambda item: _digest(f"{seed} {item.id}"))
    taken: set[str] = set()
    groups: list[tuple[float, str, list[Item]]] = []
    for source, wanted in sources.items():
        found = _of_source([item for item in ordered if item.source == source], taken, **wanted)
        if len(found) < wanted["items"] or wanted["items"] % group:
            raise VlmatchError(
                f"benchmark.sources.{source}.items={wanted['items']}: {len(found)} pictures can be used, and "
                f"a multiple of group={group} is wanted; give fewer, or raise of_category={wanted['of_category']}"
            )
        cut = [found[i : i + group] for i in range(0, len(found), group)]
        groups += [((i + 0.5) / len(cut), source, part) for i, part in enumerate(cut)]
    return tuple(item for _, _, part in sorted(groups, key=lambda found: found[:2]) for item in part)


def groups_of(n: int, group: int) -> list[list[int]]:
    """The groups of n selected items, by their numbers: each so many in a row."""
    return [list(range(start, start + group)) for start in range(0, n, group)]


def same_category(items: Sequence[Item], group: int) -> list[list[int]]:
    """Groups of items of one source and one category, in the order of their first items.

    What does not fill a group is left out, and so are items without a category.
    """
    kinds: dict[tuple[str, str], list[int]] = {}
    for number, item in enumerate(items):
        if item.category is not None:
            kinds.setdefault((item.source, item.category), []).append(number)
    cut = [
        numbers[start : start + group]
        for numbers in kinds.values()
        for start in range(0, len(numbers) - group + 1, group)
    ]
    return sorted(cut)


def _of_source(ordered: Sequence[Item], taken: set[str], items: int, of_category: int) -> list[Item]:
    """The first so many that are new; their names are added to `taken`."""
    found: list[Item] = []
    categories: Counter[str | None] = Counter()
    for item in ordered:
        names = {item.concept, concept(item.caption)}
        if len(found) < items and not names & taken and categories[item.category] < of_category:
            found.append(item)
            taken |= names
            categories[item.category] += 1
    return found


def _digest(text: str) -> bytes:
    return hashlib.sha256(text.encode()).digest()
