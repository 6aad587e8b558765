"""The held-out pictures that a VLM is measured on, and the groups in which they are each other's alternatives."""

import hashlib
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence

from vlmatch.errors import VlmatchError
from vlmatch.probes.concepts import concept
from vlmatch.probes.items import Item
from vlmatch.settings.buildable import DrawSettings


def selected(items: Iterable[Item], sources: Mapping[str, DrawSettings], group: int, seed: int) -> tuple[Item, ...]:
    """Items drawn from each source, in groups: every `group` items in a row are of the same source.

    The number of items of each source is a multiple of `group`. No two drawn items share a concept or a caption.

    Items are tried in the order of a hash of seed and id, so the selection does not depend on the order in which they
    are given, nor on items that are not drawn. The sources' groups are interleaved, so that the first part of the
    selection has about the same mixture of sources as the whole.

    Raises VlmatchError if a source has too few items.
    """
    ordered = sorted(items, key=lambda item: _digest(f"{seed} {item.id}"))
    taken: set[str] = set()
    groups: list[tuple[float, str, list[Item]]] = []
    for source, wanted in sources.items():
        found = _of_source([item for item in ordered if item.source == source], taken, wanted)
        if len(found) < wanted.items or wanted.items % group:
            raise VlmatchError(
                f"benchmark.sources.{source}.items={wanted.items}; wanted a multiple of benchmark.group={group}, "
                f"and no more than the {len(found)} pictures that can be used; give fewer, or a larger "
                f"benchmark.sources.{source}.of_category (now {wanted.of_category})"
            )
        cut = [found[i : i + group] for i in range(0, len(found), group)]
        groups += [((i + 0.5) / len(cut), source, part) for i, part in enumerate(cut)]
    return tuple(item for _, _, part in sorted(groups, key=lambda found: found[:2]) for item in part)


def groups_of(n: int, group: int) -> list[list[int]]:
    """The groups of n selected items, by number: every `group` items in a row are one group."""
    return [list(range(start, start + group)) for start in range(0, n, group)]


def same_category(items: Sequence[Item], group: int) -> list[list[int]]:
    """Groups of items of one source and one category, by number, in the order of their first items.

    Items that don't fill a group, and items without a category, are left out.
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


def _of_source(ordered: Sequence[Item], taken: set[str], wanted: DrawSettings) -> list[Item]:
    """The first `wanted.items` items whose concept and caption are new; both are added to `taken`."""
    found: list[Item] = []
    categories: Counter[str | None] = Counter()
    for item in ordered:
        names = {item.concept, concept(item.caption)}
        if len(found) < wanted.items and not names & taken and categories[item.category] < wanted.of_category:
            found.append(item)
            taken |= names
            categories[item.category] += 1
    return found


def _digest(text: str) -> bytes:
    return hashlib.sha256(text.encode()).digest()
