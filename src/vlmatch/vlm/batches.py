"""The data loader of a training: its list of batches is fixed beforehand, so a resumed run reads only the rest."""

from collections.abc import Iterator, Sequence
from dataclasses import replace
from itertools import islice
from typing import Any

import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from vlmatch.errors import VlmatchError
from vlmatch.vlm.model import Batch
from vlmatch.vlm.tokens import IGNORED, IMAGE, Tokenised, expanded
from vlmatch.vlm.training_data import Sample, SampleIndex, TrainingData


class Collate:
    """Makes one `Batch` of samples and their pictures.

    visual_tokens: how many tokens one picture becomes. prefixes: texts in front of pictures that the model has cached;
    they are cut off the samples. blank: the picture for a batch that has none. The model computes its features but does
    not use them. This way the projector is in the graph of every loss, and all processes that exchange gradients run
    the same parts of the model.
    """

    def __init__(
        self, visual_tokens: int, prefixes: Sequence[tuple[int, ...]] = (), blank: Tensor | None = None
    ) -> None:
        self.visual_tokens = visual_tokens
        self.blank = [] if blank is None else [blank]
        self.prefixes = {text: number for number, text in enumerate(prefixes)}

    def __call__(self, items: Sequence[tuple[Sample, Sequence[Tensor]]]) -> Batch:
        """The batch, padded on the right; the pictures of all samples follow each other in one tensor."""
        cut = [self._cut(sample.tokens) for sample, _ in items]
        tokens = [expanded(sample, self.visual_tokens) for sample, _ in cut]
        longest = max(map(len, tokens))
        pictures = [picture for _, found in items for picture in found] or self.blank
        return Batch(
            ids=torch.tensor([[*t.ids, *[0] * (longest - len(t))] for t in tokens]),
            mask=torch.tensor([[True] * len(t) + [False] * (longest - len(t)) for t in tokens]),
            labels=torch.tensor([[*t.labels, *[IGNORED] * (longest - len(t))] for t in tokens]),
            visual=torch.stack(pictures) if pictures else None,
            prefix=torch.tensor([number for _, number in cut]) if self.prefixes else None,
            names=tuple(sample.name for sample, _ in items),
        )

    def _cut(self, tokens: Tokenised) -> tuple[Tokenised, int]:
        """The sample without its prefix, and the prefix's number."""
        if not self.prefixes:
            return tokens, 0
        at = tokens.ids.index(IMAGE)
        return Tokenised(tokens.ids[at:], tokens.labels[at:]), self.prefixes[tokens.ids[:at]]


class _Samples(Dataset[tuple[Sample, list[Tensor]]]):
    def __init__(self, data: TrainingData) -> None:
        self.data = data

    def __getitem__(self, index: SampleIndex) -> tuple[Sample, list[Tensor]]:
        part, number = index
        try:
            sample = self.data.parts[part][1][number]
            return sample, [self.data.pictures[i] for i in sample.images]
        except VlmatchError as error:  # torch rebuilds a worker's error from its class and one text
            raise VlmatchError(str(error)) from error


class Batches:
    """The batches of a stage in their order; after a checkpoint has been loaded, only those that are left.

    batches: the samples of each batch; each training process gets its own part of every batch. workers: how many
    processes read and prepare pictures. accumulate: how many batches make one step; they are read together.
    """

    def __init__(
        self,
        data: TrainingData,
        batches: Sequence[Sequence[SampleIndex]],
        collate: Collate,
        workers: int = 0,
        accumulate: int = 1,
    ) -> None:
        self.data, self.batches, self.collate = data, batches, collate
        self.workers, self.accumulate = workers, accumulate
        self.done = 0

    def __len__(self) -> int:
        return len(self.batches)

    def __iter__(self) -> Iterator[Batch]:
        loader = DataLoader(
            _Samples(self.data),
            batch_sampler=self.batches[self.done :],  # type: ignore[arg-type]
            collate_fn=self.collate,
            num_workers=self.workers,
        )
        try:
            batches = iter(loader)
            while step := list(islice(batches, self.accumulate)):
                mean = sum(int(batch.answers) for batch in step) / len(step)
                for batch in step:
                    self.done += 1
                    yield replace(batch, mean_answers=mean)
        except VlmatchError as error:  # a worker process puts its traceback before the message
            raise VlmatchError(str(error).rpartition("VlmatchError: ")[2].strip()) from error

    def state_dict(self) -> dict[str, Any]:
        """How many batches have been given out; Lightning stores it in checkpoints."""
        return {"done": self.done}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Continue after the last batch of the checkpoint."""
        self.done = int(state["done"])


def at_once(batch_size: int, accumulate: int, processes: int) -> int:
    """How many samples a process computes at once: batch_size / (accumulate * processes).

    Raises VlmatchError if that is not a whole number.
    """
    parts = accumulate * processes
    if batch_size % parts:
        raise VlmatchError(
            f"recipe.stages: batch_size={batch_size} is not a multiple of {parts} (accumulate={accumulate} x "
            f"{processes} processes); give a multiple, or another accumulate"
        )
    return batch_size // parts


def micro_batches(batch: Sequence[SampleIndex], parts: int, rank: int, world: int) -> list[list[SampleIndex]]:
    """The `parts` micro-batches of process number `rank`, when `world` processes share a batch."""
    return [list(batch[part * world + rank :: parts * world]) for part in range(parts)]
