"""Samples of LLaVA's json that are tokenised on demand, and pictures that are opened on demand."""

import heapq
from collections.abc import Sequence
from pathlib import Path

from PIL import Image
from torch import Tensor

from vlmatch.encoders.base import Encoder
from vlmatch.probes.images import ImageSource, open_image
from vlmatch.probes.llava_format import Conversation
from vlmatch.probes.places import image_of
from vlmatch.vlm.conversations import Conversations
from vlmatch.vlm.tokens import IMAGE, Tokenised
from vlmatch.vlm.training_data import Sample

DATA_IMAGES = "recipe.stages.N.data.images"
"""The setting that names the images' folder, for messages."""

CHARACTERS_PER_TOKEN = 4  # roughly, in English; only for the lengths by which samples are grouped
BYTES_PER_TOKEN = 3  # a Chinese character, and less than in English; for an estimate of which samples are longest
TOKENISED = 100  # how many samples, the longest by that estimate, are tokenised


class LazySamples:
    """Samples that are tokenised at every access; a picture's number is its place in `paths`.

    name: the file's, for messages. Samples are cut to `max_length` tokens. Each picture takes `tokens_per_image`.
    """

    def __init__(
        self,
        entries: Sequence[Conversation],
        paths: Sequence[str],
        conversations: Conversations,
        name: str,
        max_length: int,
        tokens_per_image: int,
    ) -> None:
        self.entries, self.conversations, self.name = entries, conversations, name
        self.max_length, self.tokens_per_image = max_length, tokens_per_image
        self.numbers = {path: number for number, path in enumerate(paths)}

    @property
    def lengths(self) -> Sequence[int]:
        """The length of each sample in tokens: those of its pictures, and an estimate for its text."""
        return [
            min(
                self.max_length,
                len(entry.images) * self.tokens_per_image
                + sum(len(turn.text) for turn in entry.turns) // CHARACTERS_PER_TOKEN,
            )
            for entry in self.entries
        ]

    def longest(self, tokens_per_image: int) -> int:
        """The length of the longest sample among the `TOKENISED` ones with the most text and pictures."""

        def estimated(number: int) -> int:
            entry = self.entries[number]
            text = sum(len(turn.text.encode(errors="replace")) for turn in entry.turns)
            return len(entry.images) * tokens_per_image + text // BYTES_PER_TOKEN

        samples = (self[number].tokens for number in heapq.nlargest(TOKENISED, range(len(self)), estimated))
        return max(tokens.length(tokens_per_image) for tokens in samples)

    def most(self, tokens_per_image: int) -> int:
        """`max_length`, because every sample is cut to it."""
        return self.max_length

    def __len__(self) -> int:
        return len(self.entries)

    def __getitem__(self, number: int) -> Sample:
        entry = self.entries[number]
        tokens = cut(self.conversations.tokenised(entry.turns), self.max_length, self.tokens_per_image)
        images = tuple(self.numbers[image] for image in entry.images)
        return Sample(f"{self.name} entry {entry.number}", tokens, images[: tokens.images])


class ImageFiles:
    """Images of a folder or .zip by number, opened and prepared for the encoder at every access.

    pad: the colour of the square that an image is put on first; None: no square. outside: whether paths may lead out of
    the folder.
    """

    def __init__(
        self,
        folder: Path,
        paths: Sequence[str],
        encoder: Encoder,
        max_pixels: int,
        pad: tuple[int, ...] | None,
        outside: bool = False,
    ) -> None:
        self.folder, self.paths, self.encoder = folder, paths, encoder
        self.max_pixels, self.pad, self.outside = max_pixels, pad, outside

    def __len__(self) -> int:
        return len(self.paths)

    def __getitem__(self, number: int) -> Tensor:
        image = open_image(self._source(self.paths[number]), self.max_pixels)
        return self.encoder.prepare(image if self.pad is None else on_square(image, self.pad))

    def _source(self, path: str) -> ImageSource:
        return image_of(self.folder, path, DATA_IMAGES, outside=self.outside)


def cut(tokens: Tokenised, max_length: int, tokens_per_image: int) -> Tokenised:
    """The first tokens, as many as fit into `max_length` if each picture takes `tokens_per_image`."""
    length = 0
    for place, token in enumerate(tokens.ids):
        length += tokens_per_image if token == IMAGE else 1
        if length > max_length:
            return Tokenised(tokens.ids[:place], tokens.labels[:place])
    return tokens


def on_square(image: Image.Image, colour: tuple[int, ...]) -> Image.Image:
    """The image in the middle of a square of this colour (RGB); the square's side is the image's longer side."""
    side = max(image.size)
    square = Image.new("RGB", (side, side), (colour[0], colour[1], colour[2]))
    square.paste(image, ((side - image.width) // 2, (side - image.height) // 2))
    return square
