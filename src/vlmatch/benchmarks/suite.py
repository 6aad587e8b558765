"""The suite of benchmarks that a VLM trained by the embedded recipe is measured with, on pictures it has not seen."""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import torch
from rich.console import Console
from rich.progress import track
from torch import Tensor

from vlmatch import results
from vlmatch.benchmarks.choices import choice, gain, retrieval
from vlmatch.benchmarks.likelihood import log_likelihoods
from vlmatch.benchmarks.measurement import Array, ItemCredits, Measurement
from vlmatch.benchmarks.selection import groups_of, same_category, selected
from vlmatch.errors import VlmatchError
from vlmatch.objects import Buildable
from vlmatch.probes.items import Item, Split
from vlmatch.vlm.captions import answer_ids, answer_of, prompt_of
from vlmatch.vlm.model import VLM
from vlmatch.vlm.tokens import encode

CHOICES = ("caption_choice", "caption_choice_hard", "category", "retrieval")
"""Benchmarks with a chance; caption_gain, in nats, is in no group."""


@dataclass(frozen=True)
class QuestionPlan:
    """What is asked: groups of items by their numbers, and the categories to choose from.

    groups: of random pictures. hard: of one source and category each.
    """

    groups: list[list[int]]
    hard: list[list[int]]
    categories: tuple[str, ...]

    @property
    def pictures(self) -> list[int]:
        """The pictures of `groups`, which are also asked for their categories."""
        return [number for group in self.groups for number in group]

    @property
    def captions(self) -> dict[int, list[int]]:
        """By picture, whose captions are asked under it."""
        wanted: dict[int, set[int]] = {}
        for group in (*self.groups, *self.hard):
            for picture in group:
                wanted.setdefault(picture, set()).update(group)
        return {picture: sorted(found) for picture, found in sorted(wanted.items())}


@dataclass(frozen=True)
class BenchmarkSuite(Buildable):
    """Benchmarks scored by the likelihood of answers, over groups of pictures of one source.

    caption_choice: which of the group's captions fits the picture, the captions' priors subtracted.
    caption_choice_hard: the same among pictures of one category.
    retrieval: which of the group's pictures fits the caption.
    caption_gain: nats a token that a caption gains over its mean under the group's other pictures; chance is 0.
    category: which of the training data's categories the picture has, each one's mean under all other pictures
    subtracted. The score is the mean over categories of the part that was recognised (balanced accuracy): with the
    plain one, chance depends on how often a model gives which answer; with this it is exactly 1 / categories over all
    assignments of pictures to categories. Categories of fewer than two of the pictures are not asked.

    Standard errors are over pictures as they were drawn: the items of a group are one cluster (of category, each is one
    of its own), and sources, or for category the categories, are strata (`measured.standard_error`).

    `shuffled` scores show each question with the next picture of its group. Where the group's pictures are also the
    alternatives, a model that sees falls below chance there, to (1 - score) / (group - 1) on average.

    batch_size: pictures at a time. course: the part of the groups that is measured on the way of a training.
    """

    name: str
    version: int
    share: str
    sources: Mapping[str, Mapping[str, int]]
    group: int
    hard_group: int
    seed: int
    groups: Mapping[str, Sequence[str]]
    batch_size: int
    course: float

    def __post_init__(self) -> None:
        for group, parts in self.groups.items():
            if not parts or not set(parts) <= set(CHOICES):
                raise VlmatchError(f"benchmark.groups.{group}={list(parts)}: choose of {', '.join(CHOICES)}")
        for key, size in (("group", self.group), ("hard_group", self.hard_group)):
            if size < 2:
                raise VlmatchError(f"benchmark.{key}={size}: a choice needs 2 pictures or more")

    def items(self, split: Split) -> tuple[Item, ...]:
        """The pictures to measure on, the same for every VLM; VlmatchError where the split has too few."""
        return selected(split.share(self.share), self.sources, self.group, self.seed)

    def plan(self, items: Sequence[Item], categories: Sequence[str], fraction: float = 1.0) -> QuestionPlan:
        """What is asked of the first `fraction` of the groups; VlmatchError where that leaves fewer than two."""
        groups, hard = (
            found[: round(fraction * len(found))]
            for found in (groups_of(len(items), self.group), same_category(items, self.hard_group))
        )
        if not 0 < fraction <= 1 or min(len(groups), len(hard)) < 2:
            raise VlmatchError(
                f"fraction={fraction} of the benchmarks: {len(groups)} groups and {len(hard)} of one category; "
                "give at most 1, and enough for two of each, which a standard error needs"
            )
        counts = Counter(items[number].category for group in groups for number in group)
        asked = tuple(name for name in sorted(set(categories)) if counts[name] > 1)
        if len(asked) < 2:
            raise VlmatchError(f"categories={sorted(set(categories))}: two or more that pictures have are wanted")
        return QuestionPlan(groups, hard, asked)

    def evaluate(
        self,
        vlm: VLM,
        features: Tensor,
        items: Sequence[Item],
        categories: Sequence[str],
        prompts: Mapping[str, str],
        fraction: float = 1.0,
    ) -> Measurement:
        """Measure a VLM on `items`, with their features (n, t, d), or prepared images where it has an encoder.

        categories: those of the training data. prompts: the recipe's, 'caption' and 'category'. fraction: measure only
        the first so many of the groups. The VLM is left as it was.

        Raises VlmatchError on a wrong argument, and where a likelihood is not finite.
        """
        if len(features) != len(items):
            raise VlmatchError(f"benchmarks: features of {len(features)} pictures for {len(items)} items")
        plan = self.plan(items, categories, fraction)
        captions = [answer_ids(vlm.tokenizer, str(answer_of(item, "caption")), ends=False) for item in items]
        names = [answer_ids(vlm.tokenizer, name, ends=False) for name in plan.categories]
        with evaluating(vlm):
            captioned = _matrix(vlm, features, prompts, "caption", captions, plan.captions, self.batch_size)
            every = {picture: range(len(names)) for picture in plan.pictures}
            categorised = _matrix(vlm, features, prompts, "category", names, every, self.batch_size)
        return self.scored(items, plan, captioned, np.array([len(ids) for ids in captions]), categorised)

    def scored(
        self, items: Sequence[Item], plan: QuestionPlan, captions: Array, tokens: Array, category: Array
    ) -> Measurement:
        """Score log-likelihoods: `captions` (n, n) of the captions, `category` (n, k) of the categories, by picture.

        tokens (n,): how many each caption has. Only what the plan asks is looked at.
        """
        credits = {
            "caption_choice": _in_groups(items, plan.groups, [choice(captions[np.ix_(g, g)]) for g in plan.groups]),
            "caption_choice_hard": _in_groups(items, plan.hard, [choice(captions[np.ix_(g, g)]) for g in plan.hard]),
            "retrieval": _in_groups(items, plan.groups, [retrieval(captions[np.ix_(g, g)]) for g in plan.groups]),
            "caption_gain": _in_groups(
                items, plan.groups, [gain(captions[np.ix_(g, g)], tokens[g]) for g in plan.groups], chance=0.0
            ),
            "category": _category(items, plan, choice(category[plan.pictures])),
        }
        likelihoods = {"captions": captions, "categories": category}
        return Measurement(
            results.SuiteId(self.name, self.version, len(plan.captions)), credits, self.groups, likelihoods
        )


@contextmanager
def evaluating(vlm: VLM) -> Iterator[None]:
    """Switch dropout and its like off for a while; each module then goes on in the mode that it was in."""
    training = [module for module in vlm.modules() if module.training]
    vlm.eval()
    try:
        yield
    finally:
        for module in training:
            module.training = True


def _matrix(
    vlm: VLM,
    features: Tensor,
    prompts: Mapping[str, str],
    question: str,
    texts: Sequence[Sequence[int]],
    asked: Mapping[int, Sequence[int]],
    batch_size: int,
) -> Array:
    """Log-likelihoods of texts by picture, (n, texts); NaN where they are not asked.

    Pictures with equal features are asked as one, which is all that a blind model has.
    """
    prompt = encode(vlm.tokenizer, prompt_of(prompts, question), special=True)
    rows = _rows(features, asked)
    candidates = [[texts[text] for text in row.texts] for row in rows]
    shown = features[torch.tensor([row.pictures[0] for row in rows])]
    scored = log_likelihoods(vlm, shown, prompt, candidates, batch_size)
    found = np.full((len(features), len(texts)), np.nan)
    hidden = not Console().is_terminal
    for number, values in track(scored, f"benchmarks: {question}", total=len(rows), transient=True, disable=hidden):
        if not bool(torch.isfinite(values).all()):
            raise VlmatchError("benchmarks: a likelihood is not finite; the VLM's weights or features are not")
        for picture in rows[number].pictures:
            wanted = np.isin(rows[number].texts, asked[picture])
            found[picture, np.array(rows[number].texts)[wanted]] = values.numpy()[wanted]
    return found


class _Row(NamedTuple):
    """Texts that are asked at once about pictures with equal features."""

    pictures: list[int]
    texts: tuple[int, ...]


def _rows(features: Tensor, asked: Mapping[int, Sequence[int]]) -> list[_Row]:
    """What to ask, in the order of `asked`; a row has at most as many texts as one picture is asked at most."""
    alike: dict[bytes, list[int]] = {}
    for picture in asked:
        alike.setdefault(features[picture].cpu().numpy().tobytes(), []).append(picture)
    most = max(map(len, asked.values()))
    rows = []
    for pictures in alike.values():
        texts = sorted({text for picture in pictures for text in asked[picture]})
        rows += [_Row(pictures, tuple(texts[start : start + most])) for start in range(0, len(texts), most)]
    return rows


def _in_groups(
    items: Sequence[Item], groups: Sequence[Sequence[int]], credits: Sequence[Array], chance: float | None = None
) -> ItemCredits:
    """Own and shuffled credits of all groups; items of a group are one cluster."""
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


def _category(items: Sequence[Item], plan: QuestionPlan, credit: Array) -> ItemCredits:
    """The credits (pictures, categories) of what has one of the categories; each picture is a cluster of its own."""
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
