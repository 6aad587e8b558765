"""From the log-likelihoods of a VLM to what each item earned in each benchmark of the suite."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from vlmatch.benchmarks.choices import choice, gain, retrieval
from vlmatch.benchmarks.measurement import Array, ItemCredits


class Asked(Protocol):
    """A picture that is asked about: its source, and its category if it has one."""

    @property
    def source(self) -> str:
        """The source of the picture."""

    @property
    def category(self) -> str | None:
        """The category of the picture."""


@dataclass(frozen=True)
class QuestionPlan:
    """Which questions are asked about which items.

    groups: groups of pictures of one source, by number. hard: groups of pictures of one source and one category.
    categories: those to choose from.
    """

    groups: list[list[int]]
    hard: list[list[int]]
    categories: tuple[str, ...]

    @property
    def pictures(self) -> list[int]:
        """The pictures of `groups`; the VLM is also asked for their categories."""
        return [number for group in self.groups for number in group]

    @property
    def captions(self) -> dict[int, list[int]]:
        """By picture, the pictures whose captions are scored under it."""
        wanted: dict[int, set[int]] = {}
        for group in (*self.groups, *self.hard):
            for picture in group:
                wanted.setdefault(picture, set()).update(group)
        return {picture: sorted(found) for picture, found in sorted(wanted.items())}


@dataclass(frozen=True)
class AskedItem:
    """An item without its picture: its source, and its category if it has one that was asked for."""

    source: str
    category: str | None


@dataclass(frozen=True)
class AskedItems:
    """What is kept of n items beside their likelihoods, so that credits can be computed again.

    source, category: (n,), '' for a category that was not asked for. tokens: (n,), of each caption. group, hard_group:
    (n,), the numbers of the groups in which items are each other's alternatives; -1 for none.
    """

    source: NDArray[np.str_]
    category: NDArray[np.str_]
    tokens: Array
    group: NDArray[np.int64]
    hard_group: NDArray[np.int64]

    @classmethod
    def of(cls, items: Sequence[Asked], plan: QuestionPlan, tokens: Array) -> "AskedItems":
        """The items of a plan. tokens: (n,)."""
        source = np.array([item.source for item in items])
        category = np.array([item.category if item.category in plan.categories else "" for item in items])
        return cls(source, category, tokens, *(_numbers(groups, len(items)) for groups in (plan.groups, plan.hard)))

    @classmethod
    def read(cls, columns: Mapping[str, Any]) -> "AskedItems":
        """The items from columns of these names; KeyError or ValueError if one is missing or not of its type."""
        return cls(
            np.asarray(columns["source"], dtype=np.str_),
            np.asarray(columns["category"], dtype=np.str_),
            np.asarray(columns["tokens"], dtype=np.float64),
            np.asarray(columns["group"], dtype=np.int64),
            np.asarray(columns["hard_group"], dtype=np.int64),
        )

    @property
    def items(self) -> list[AskedItem]:
        """The items, one by one."""
        return [AskedItem(str(s), str(c) or None) for s, c in zip(self.source, self.category, strict=True)]

    @property
    def plan(self) -> QuestionPlan:
        """The questions that were asked about the items."""
        categories = tuple(sorted({str(name) for name in self.category if name}))
        return QuestionPlan(_groups(self.group), _groups(self.hard_group), categories)


def credits_of(
    items: Sequence[Asked], plan: QuestionPlan, captions: Array, tokens: Array, category: Array
) -> dict[str, ItemCredits]:
    """The credits of each benchmark, from log-likelihoods in nats under each of n pictures.

    captions (n, n): of all captions. tokens (n,): how many tokens each caption has. category (n, k): of the plan's
    categories. Only the entries that the plan asks for are read.
    """
    return {
        "caption_choice": _in_groups(items, plan.groups, [choice(captions[np.ix_(g, g)]) for g in plan.groups]),
        "caption_choice_hard": _in_groups(items, plan.hard, [choice(captions[np.ix_(g, g)]) for g in plan.hard]),
        "retrieval": _in_groups(items, plan.groups, [retrieval(captions[np.ix_(g, g)]) for g in plan.groups]),
        "caption_gain": _in_groups(
            items, plan.groups, [gain(captions[np.ix_(g, g)], tokens[g]) for g in plan.groups], chance=0.0
        ),
        "category": _category(items, plan, choice(category[plan.pictures])),
    }


def _in_groups(
    items: Sequence[Asked], groups: Sequence[Sequence[int]], credits: Sequence[Array], chance: float | None = None
) -> ItemCredits:
    """The credits of a benchmark over groups; the items of a group are one cluster."""
    sources = np.array([items[number].source for group in groups for number in group])
    return ItemCredits(
        items=np.array([number for group in groups for number in group]),
        credit=np.concatenate([np.diag(found) for found in credits]),
        shuffled=np.concatenate([np.diag(np.roll(found, -1, axis=0)) for found in credits]),
        clusters=np.repeat(np.arange(len(groups)), len(groups[0])),
        sources=sources,
        strata=sources,
        chance=1 / len(groups[0]) if chance is None else chance,
    )


def _category(items: Sequence[Asked], plan: QuestionPlan, credit: Array) -> ItemCredits:
    """The credits of the category benchmark, from (pictures, categories); each picture is a cluster of its own."""
    rows = [row for row, number in enumerate(plan.pictures) if items[number].category in plan.categories]
    shown = np.concatenate([np.roll(group, -1) for group in np.arange(len(credit)).reshape(len(plan.groups), -1)])
    numbers = np.array(plan.pictures)[rows]
    own = [plan.categories.index(str(items[number].category)) for number in numbers]
    return ItemCredits(
        items=numbers,
        credit=credit[rows, own],
        shuffled=credit[shown[rows], own],
        clusters=numbers,
        sources=np.array([items[number].source for number in numbers]),
        strata=np.array([items[number].category for number in numbers]),
        chance=1 / len(plan.categories),
        balanced=True,
    )


def _numbers(groups: Sequence[Sequence[int]], n: int) -> NDArray[np.int64]:
    """The number of each item's group, (n,); -1 for none."""
    numbers = np.full(n, -1)
    for number, group in enumerate(groups):
        numbers[list(group)] = number
    return numbers


def _groups(numbers: NDArray[np.int64]) -> list[list[int]]:
    """The items of each group, by number."""
    return [np.flatnonzero(numbers == number).tolist() for number in np.unique(numbers[numbers >= 0])]
