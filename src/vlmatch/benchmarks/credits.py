"""From the log-likelihoods of a VLM to what each item earned in each benchmark of the suite."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np

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
