"""What a stage trains on: samples in weighted parts, their pictures, and the order that follows from the seed."""

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
from vlmatch.vlm.tokens import IMAGE, Tokenised

BUCKET = 8  # batches among which samples are sorted by length
MOST_PREFIXES = 16


@dataclass(frozen=True, slots=True)
class Sample:
    """One training sample and the numbers of its pictures."""

    name: str
    tokens: Tokenised
    images: tuple[int, ...]


class Samples(Protocol):
    """Samples by number; lengths, in tokens, may be estimates where they are tokenised on demand."""

    @property
    def lengths(self) -> Sequence[int]:
        """How long each sample is, to group them by."""

    def longest(self, tokens_per_image: int) -> int:
        """How long the longest is, its pictures' tokens included."""

    def most(self, tokens_per_image: int) -> int:
        """What no sample is longer than, its pictures' tokens included; never an estimate."""

    def __len__(self) -> int: ...

    def __getitem__(self, number: int) -> Sample: ...


class Pictures(Protocol):
    """Pictures by number: features (t, d), or (c, h, w) prepared images."""

    def __len__(self) -> int: ...

    def __getitem__(self, number: int) -> Tensor: ...


class Listed(list[Sample]):
    """Samples that are all in memory."""

    @property
    def lengths(self) -> Sequence[int]:
        """How many ids each has."""
        return [len(sample.tokens) for sample in self]

    def longest(self, tokens_per_image: int) -> int:
        """The most tokens that a sample has."""
        return max(len(s.tokens) + s.tokens.images * (tokens_per_image - 1) for s in self)

    most = longest


@dataclass(frozen=True)
class TrainingData:
    """Parts by name, each with its weight in the mixture, and the pictures that their samples number.

    fingerprint: of what they were read from, so that a run does not go on with other data.
    """

    parts: Mapping[str, tuple[float, Samples]]
    pictures: Pictures
    fingerprint: str = ""

    @property
    def size(self) -> int:
        """How many samples there are."""
        return sum(len(samples) for _, samples in self.parts.values())

    def longest(self, tokens_per_image: int) -> int:
        """The tokens of the longest sample, perhaps estimated."""
        return max(samples.longest(tokens_per_image) for _, samples in self.parts.values())

    def most(self, tokens_per_image: int) -> int:
        """What no sample is longer than."""
        return max(samples.most(tokens_per_image) for _, samples in self.parts.values())

    def prefixes(self) -> tuple[tuple[int, ...], ...]:
        """The texts in front of the pictures, if a few are in front of all; else none.

        Where the LLM is frozen, their keys and values are constant. Samples that are tokenised on demand have none.
        """
        found: set[tuple[int, ...]] = set()
        for _, samples in self.parts.values():
            if not isinstance(samples, Listed):
                return ()
            for sample in samples:
                ids = sample.tokens.ids
                if IMAGE not in ids[1:]:  # nothing, not even a BOS, in front
                    return ()
                found.add(ids[: ids.index(IMAGE)])
            if len(found) > MOST_PREFIXES:
                return ()
        return tuple(sorted(found))


@dataclass(frozen=True)
class DataContext:
    """What a recipe's data are made with: the LLM's tokenizer, the encoder that images are prepared for (None: its
    features are cached), and what gives the features of the split's items, (n, t, d)."""

    tokenizer: Any
    encoder: Encoder | None
    features: Callable[[Sequence[Item]], Tensor]


class DataSource(Buildable, ABC):
    """A recipe's `data`: an object that a yaml names by `_target_`."""

    @abstractmethod
    def load(self, context: DataContext) -> TrainingData:
        """Samples and pictures, checked before anything expensive starts."""


Numbered = tuple[str, int]
"""A sample: its part and its number in there."""


def schedule(data: TrainingData, steps: int, batch_size: int, seed: int) -> list[list[Numbered]]:
    """The samples of each of `steps` batches; all of it follows from the seed.

    Each part is gone through in a random order, and again in another one, as often as its weight asks. Samples of
    about one length come into one batch: they are sorted within `BUCKET` batches, whose order is drawn again.
    """
    generator = torch.Generator().manual_seed(seed)
    streams = {name: _stream(len(samples), generator) for name, (_, samples) in data.parts.items()}
    lengths = {name: samples.lengths for name, (_, samples) in data.parts.items()}
    total = sum(weight for weight, _ in data.parts.values())
    owed = dict.fromkeys(streams, 0.0)
    batches: list[list[Numbered]] = []
    while len(batches) < steps:
        drawn: list[Numbered] = []
        n = min(BUCKET, steps - len(batches))
        for _ in range(n * batch_size):
            for name, (weight, _) in data.parts.items():
                owed[name] += weight / total
            part = max(owed, key=lambda name: owed[name])
            owed[part] -= 1
            drawn.append((part, next(streams[part])))
        drawn.sort(key=lambda numbered: lengths[numbered[0]][numbered[1]])
        cut = [drawn[i * batch_size : (i + 1) * batch_size] for i in range(n)]
        batches += [cut[i] for i in torch.randperm(n, generator=generator).tolist()]
    return batches


def a_picture(datasets: Sequence[TrainingData]) -> Tensor:
    """One picture of them; VlmatchError where there is none."""
    for data in datasets:
        if len(data.pictures):
            return data.pictures[0]
    raise VlmatchError("recipe.stages: no sample of any stage has a picture; give data with 'image' in them")


def steps_of(data: TrainingData, steps: int | None, epochs: float | None, batch_size: int) -> int:
    """The number of steps that a recipe asks for; what does not fill a batch at the end of the data is left out.

    Raises VlmatchError unless one of both is given, and where the data don't fill one batch.
    """
    if (steps is None) == (epochs is None):
        raise VlmatchError(f"recipe.stages: steps={steps}, epochs={epochs}; give one of them and null for the other")
    found = steps if steps is not None else int(data.size * (epochs or 0) // batch_size)
    if found < 1:
        raise VlmatchError(f"recipe.stages: {data.size} samples don't fill one batch of {batch_size}")
    return found


def _stream(n: int, generator: torch.Generator) -> Iterator[int]:
    while True:
        yield from torch.randperm(n, generator=generator).tolist()
