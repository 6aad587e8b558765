"""The data of a training stage: samples in weighted parts, their pictures, and their order, drawn by the seed."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import torch
from torch import Tensor

from vlmatch.encoders.base import Encoder
from vlmatch.errors import VlmatchError
from vlmatch.objects import Buildable
from vlmatch.probes.items import Item
from vlmatch.settings.recipe import StageSettings
from vlmatch.vlm.tokens import IMAGE, Tokenised

BUCKET = 8  # the number of batches whose samples are drawn together and sorted by length
MOST_PREFIXES = 16  # if there are more different prefixes, none is cached


@dataclass(frozen=True, slots=True)
class Sample:
    """One training sample: its name for messages, its tokens, and the numbers of its pictures."""

    name: str
    tokens: Tokenised
    images: tuple[int, ...]


class Samples(Protocol):
    """Samples by number. Lengths are in tokens; they may be estimates if samples are tokenised on demand."""

    @property
    def lengths(self) -> Sequence[int]:
        """The length of each sample, by which samples are grouped; a picture may count as one token."""

    def longest(self, tokens_per_image: int) -> int:
        """The length of the longest sample, the tokens of its pictures included; may be an estimate."""

    def most(self, tokens_per_image: int) -> int:
        """An upper bound on the length of every sample, the tokens of its pictures included."""

    def __len__(self) -> int: ...

    def __getitem__(self, number: int) -> Sample: ...


class Pictures(Protocol):
    """Pictures by number: cached features (t, d), or prepared images (c, h, w)."""

    def __len__(self) -> int: ...

    def __getitem__(self, number: int) -> Tensor: ...


class Listed(list[Sample]):
    """A list of samples, all in memory."""

    @property
    def lengths(self) -> Sequence[int]:
        """The number of ids of each sample; a picture counts as one."""
        return [len(sample.tokens) for sample in self]

    def longest(self, tokens_per_image: int) -> int:
        """The length of the longest sample, the tokens of its pictures included."""
        return max(sample.tokens.length(tokens_per_image) for sample in self)

    most = longest


@dataclass(frozen=True)
class TrainingData:
    """The data of one stage.

    parts: by name, each part's weight in the mixture, and its samples. pictures: those that `Sample.images` numbers.
    fingerprint: of the files that the data were read from; a run continues only with data of the same fingerprint.
    """

    parts: Mapping[str, tuple[float, Samples]]
    pictures: Pictures
    fingerprint: str = ""

    @property
    def size(self) -> int:
        """The number of samples."""
        return sum(len(samples) for _, samples in self.parts.values())

    def longest(self, tokens_per_image: int) -> int:
        """The length of the longest sample, as in `Samples.longest`."""
        return max(samples.longest(tokens_per_image) for _, samples in self.parts.values())

    def most(self, tokens_per_image: int) -> int:
        """An upper bound on the length of every sample, as in `Samples.most`."""
        return max(samples.most(tokens_per_image) for _, samples in self.parts.values())

    def prefixes(self) -> tuple[tuple[int, ...], ...]:
        """The different texts in front of the first pictures, as token ids.

        Their keys and values can be cached if the LLM is frozen. Empty if a sample has no text in front of a picture,
        if there are more than `MOST_PREFIXES` such texts, or if samples are tokenised on demand.
        """
        found: set[tuple[int, ...]] = set()
        for _, samples in self.parts.values():
            if not isinstance(samples, Listed):
                return ()
            for sample in samples:
                ids = sample.tokens.ids
                if IMAGE not in ids[1:]:  # nothing precedes the picture, not even a beginning-of-sequence token
                    return ()
                found.add(ids[: ids.index(IMAGE)])
            if len(found) > MOST_PREFIXES:
                return ()
        return tuple(sorted(found))


@dataclass(frozen=True)
class DataContext:
    """What a data source may need to load its samples and pictures.

    tokenizer: the LLM's. encoder: prepares the images; None if its features are cached. features: returns the cached
    features (n, t, d) of n items of the split.
    """

    tokenizer: Any
    encoder: Encoder | None
    features: Callable[[Sequence[Item]], Tensor]


class DataSource(Buildable, ABC):
    """Where a stage's data come from: the object that `data._target_` of a recipe's stage names."""

    @abstractmethod
    def load(self, context: DataContext) -> TrainingData:
        """The samples and pictures of a stage; bad input is found here, before anything expensive starts."""


SampleIndex = tuple[str, int]
"""A sample, by the name of its part and its number in that part."""


def schedule(data: TrainingData, steps: int, batch_size: int, seed: int) -> list[list[SampleIndex]]:
    """The samples of each of `steps` batches, drawn by the seed alone.

    The parts take turns in proportion to their weights. Each part is used once in a random order, then again in another
    one, and so on. So that a batch holds samples of similar lengths, the samples of `BUCKET` batches are drawn
    together, sorted by length and cut into batches, whose order is random.
    """
    generator = torch.Generator().manual_seed(seed)
    streams = {name: _stream(len(samples), generator) for name, (_, samples) in data.parts.items()}
    lengths = {name: samples.lengths for name, (_, samples) in data.parts.items()}
    total = sum(weight for weight, _ in data.parts.values())
    owed = dict.fromkeys(streams, 0.0)
    batches: list[list[SampleIndex]] = []
    while len(batches) < steps:
        drawn: list[SampleIndex] = []
        n = min(BUCKET, steps - len(batches))
        for _ in range(n * batch_size):
            for name, (weight, _) in data.parts.items():
                owed[name] += weight / total
            part = max(owed, key=lambda name: owed[name])
            owed[part] -= 1
            drawn.append((part, next(streams[part])))
        drawn.sort(key=lambda index: lengths[index[0]][index[1]])
        cut = [drawn[i * batch_size : (i + 1) * batch_size] for i in range(n)]
        batches += [cut[i] for i in torch.randperm(n, generator=generator).tolist()]
    return batches


def a_picture(datasets: Sequence[TrainingData]) -> Tensor:
    """Any picture of the data; VlmatchError if there is none."""
    for data in datasets:
        if len(data.pictures):
            return data.pictures[0]
    raise VlmatchError("recipe.stages: no sample of any stage has a picture; give data whose entries have 'image'")


def steps_of(data: TrainingData, stage: StageSettings) -> int:
    """The number of steps of a stage: its `steps`, or the number of whole batches in `epochs` times the data.

    Raises VlmatchError if the data don't fill one batch.
    """
    found = stage.steps if stage.steps is not None else int(data.size * (stage.epochs or 0) // stage.batch_size)
    if found < 1:
        raise VlmatchError(
            f"recipe.stages ({stage.name}): {data.size} samples with epochs={stage.epochs} don't fill one batch of "
            f"batch_size={stage.batch_size}; give more epochs or a smaller batch_size"
        )
    return found


def _stream(n: int, generator: torch.Generator) -> Iterator[int]:
    while True:
        yield from torch.randperm(n, generator=generator).tolist()
