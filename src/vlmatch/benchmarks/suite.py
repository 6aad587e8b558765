"""The suite of benchmarks on held-out pictures, which measures VLMs of the embedded recipe."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from torch import Tensor

from vlmatch import results
from vlmatch.benchmarks.asking import evaluating, likelihood_matrix
from vlmatch.benchmarks.credits import AskedItems, QuestionPlan, credits_of
from vlmatch.benchmarks.measurement import Array, Measurement
from vlmatch.benchmarks.selection import groups_of, same_category, selected
from vlmatch.errors import VlmatchError
from vlmatch.objects import Buildable
from vlmatch.probes.items import Item, Split
from vlmatch.settings.buildable import DrawSettings
from vlmatch.vlm.captions import answer_ids, answer_of
from vlmatch.vlm.model import VLM

CHOICES = ("caption_choice", "caption_choice_hard", "category", "retrieval")
"""The benchmarks that a group may have: those whose score is a fraction of right answers; caption_gain is in nats."""


@dataclass(frozen=True)
class BenchmarkSuite(Buildable):
    """Benchmarks scored by the likelihood of answers, over groups of pictures of one source.

    - caption_choice: which of the group's captions fits the picture; each caption's prior is subtracted.
    - caption_choice_hard: the same, in groups of pictures of one category.
    - retrieval: which of the group's pictures fits the caption.
    - caption_gain: how much likelier a caption is under its own picture than on average under the group's other
      pictures, in nats per token. Chance is 0.
    - category: which category the picture has, of the suite's own `categories` or else of the training data's; each
      category's mean under all other pictures is subtracted. The score is balanced accuracy: the mean, over
      categories, of the part of pictures that was recognised. Its chance is exactly 1 / categories, over all
      assignments of pictures to categories. The chance of plain accuracy would depend on how often a model gives each
      answer. A category with fewer than two pictures is not asked.

    Standard errors are over the drawing of pictures (`measurement.standard_error`). The items of a group are one
    cluster, and sources are strata; for category, each picture is a cluster, and categories are strata.

    `shuffled` scores ask each question with the next picture of its group. If the alternatives are the group's
    pictures or their captions, a model that uses the picture falls below chance: to (1 - score) / (group - 1) on
    average.

    share: the share of the split whose pictures are used. sources: for each source, `items` and `of_category`
    (`DrawSettings`). group, hard_group: how many pictures a group of pictures has. groups: the benchmarks of each group
    of the mean. batch_size: how many pictures are computed at a time. course: the fraction of the groups of pictures
    that is measured at the milestones of a training; None: milestones are not measured. split: the split of the
    pictures, if VLMs are trained on another one; it must extend that one. categories: those to choose from;
    None: those of the training data.
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
    course: float | None
    split: Split | None = None
    categories: Sequence[str] | None = None

    def __post_init__(self) -> None:
        for group, parts in self.groups.items():
            if not parts or not set(parts) <= set(CHOICES):
                raise VlmatchError(
                    f"benchmark.groups.{group}={list(parts)}; wanted one or more of {', '.join(CHOICES)}"
                )
        for key, size in (("group", self.group), ("hard_group", self.hard_group)):
            if size < 2:
                raise VlmatchError(f"benchmark.{key}={size}; wanted 2 or more, since a choice needs two pictures")

    def split_of_pictures(self, split: Split) -> Split:
        """The split that the pictures are taken from, where VLMs are trained on `split`.

        Raises VlmatchError unless all items of `split` are in it, in the same shares: only then can we know that no VLM
        has seen its benchmarks' pictures.
        """
        if self.split is None:
            return split
        if self.split.extends != split.fingerprint:
            raise VlmatchError(
                f"benchmark.split of suite '{self.name}' does not extend the split {split.fingerprint[:8]} that VLMs "
                "are trained on, so they may have seen its pictures; give the suite a split that is made from this one"
            )
        return self.split

    def items(self, split: Split) -> tuple[Item, ...]:
        """The pictures to measure on, the same for every VLM; VlmatchError if the split has too few."""
        draws = {name: DrawSettings.of(f"benchmark.sources.{name}", wanted) for name, wanted in self.sources.items()}
        return selected(split.share(self.share), draws, self.group, self.seed)

    def plan(self, items: Sequence[Item], categories: Sequence[str], fraction: float = 1.0) -> QuestionPlan:
        """The questions about the first `fraction` of the groups; VlmatchError if fewer than two groups are left."""
        groups, hard = (
            found[: round(fraction * len(found))]
            for found in (groups_of(len(items), self.group), same_category(items, self.hard_group))
        )
        if not 0 < fraction <= 1 or min(len(groups), len(hard)) < 2:
            raise VlmatchError(
                f"fraction={fraction} of the benchmarks leaves {len(groups)} groups and {len(hard)} groups of one "
                "category; wanted at most 1, and enough for two groups of each kind, because a standard error needs two"
            )
        counts = Counter(items[number].category for group in groups for number in group)
        asked = tuple(name for name in sorted(set(categories)) if counts[name] > 1)
        if len(asked) < 2:
            raise VlmatchError(
                f"categories={sorted(set(categories))}; wanted two or more categories with at least two pictures each"
            )
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
        """Measure a VLM on n items; the VLM itself does not change.

        features: those of the items, (n, t, d), or prepared images (n, c, h, w) if the VLM has an encoder. categories:
        those to choose from. prompts: the recipe's, for 'caption' and 'category'. fraction: how many of the groups
        are measured, from the first on.

        Raises VlmatchError on a wrong argument, or if a likelihood is not finite.
        """
        if len(features) != len(items):
            raise VlmatchError(
                f"benchmarks: there are features of {len(features)} pictures; wanted one for each of {len(items)} items"
            )
        plan = self.plan(items, categories, fraction)
        captions = [answer_ids(vlm.tokenizer, str(answer_of(item, "caption")), ends=False) for item in items]
        names = [answer_ids(vlm.tokenizer, name, ends=False) for name in plan.categories]
        with evaluating(vlm):
            captioned = likelihood_matrix(vlm, features, prompts, "caption", captions, plan.captions, self.batch_size)
            every = {picture: range(len(names)) for picture in plan.pictures}
            categorised = likelihood_matrix(vlm, features, prompts, "category", names, every, self.batch_size)
        return self.scored(items, plan, captioned, np.array([len(ids) for ids in captions]), categorised)

    def scored(
        self, items: Sequence[Item], plan: QuestionPlan, captions: Array, tokens: Array, category: Array
    ) -> Measurement:
        """The measurement that follows from log-likelihoods under each of n pictures.

        captions (n, n): of all captions. tokens (n,): how many tokens each caption has. category (n, k): of the plan's
        categories. Only the entries that the plan asks for are read.
        """
        return Measurement(
            results.SuiteId(self.name, self.version, len(plan.captions)),
            credits_of(items, plan, captions, tokens, category),
            self.groups,
            {"captions": captions, "categories": category},
            vars(AskedItems.of(items, plan, tokens)),
        )
