"""Training data in LLaVA's json: conversations about pictures, checked before a training, tokenised when wanted."""

import logging
import math
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from vlmatch.errors import VlmatchError
from vlmatch.probes.images import MAX_PIXELS, ImageError, image_header, open_image
from vlmatch.probes.llava_format import (
    Conversation,
    Numbered,
    conversation_of,
    fingerprint_of,
    image_path,
    read_items,
)
from vlmatch.probes.problems import EntryError
from vlmatch.probes.sampling import draw_order
from vlmatch.vlm.building import feature_shape
from vlmatch.vlm.conversations import Conversations
from vlmatch.vlm.lazy_samples import ImageFiles, LazySamples, cut
from vlmatch.vlm.tokens import IGNORED
from vlmatch.vlm.training_data import DataContext, DataSource, TrainingData

CHOICES = {
    "bad_images": ("error", "skip"),
    "bad_conversations": ("error", "skip"),
    "too_long": ("error", "skip", "cut"),
}

_READERS = 8  # threads that look at images

log = logging.getLogger(__name__)


class LlavaJson(DataSource):
    """A recipe's data in LLaVA's format (Liu et al., 2023): LCS-558K, CC3M-595K, the mixture of 665K, or one's own.

    path: a json list, or lines of json (.jsonl), of {image, conversations: [{from, value}, ...]}; `image` is a path, a
    list of them, or absent; ShareGPT's {messages: [{role, content}, ...]} is read too. images: the folder that these
    paths start from; nothing outside of it is opened, though links in it are followed.
    template: one of `conversations.TEMPLATES`. max_length: the most tokens of a sample, those of its pictures included.
    what, tokens: the recipe's visual.what and projector.tokens, which decide how many those are.
    limit: only the first so many entries; sample: so many, drawn by `seed`; a larger sample holds the smaller one.
    bad_images: 'error' where one is missing, no image or larger than `max_pixels`, as its header says, and what can't
    be decoded when its turn comes; 'skip' decodes all beforehand, and leaves out the bad ones' entries.
    bad_conversations: 'error', or 'skip' those that are empty or whose roles are out of order.
    too_long: 'error', 'skip' samples with more tokens, or 'cut' their end off, and skip those whose first answer is
    beyond it. What is skipped is counted and logged.
    pad: the colour (RGB, 0 to 255) of the square that a picture is put on before it is prepared, so that no encoder
    crops it, as LLaVA-1.5 does in its second stage; None: prepared as it is.
    """

    def __init__(
        self,
        path: str | Path,
        images: str | Path,
        *,
        template: str,
        max_length: int,
        what: str,
        tokens: int,
        limit: int | None = None,
        sample: int | None = None,
        seed: int = 0,
        bad_images: str = "error",
        bad_conversations: str = "error",
        too_long: str = "error",
        max_pixels: int = MAX_PIXELS,
        pad: Sequence[int] | None = None,
    ) -> None:
        self.choices = {"bad_images": bad_images, "bad_conversations": bad_conversations, "too_long": too_long}
        for key, value in self.choices.items():
            if value not in CHOICES[key]:
                raise VlmatchError(f"data.{key}='{value}' is unknown; choose one of {', '.join(CHOICES[key])}")
        if limit is not None and sample is not None:
            raise VlmatchError(f"data.limit={limit} and data.sample={sample}: the first so many, or a sample? Give one")
        self.file, self.folder = Path(path).expanduser(), Path(images).expanduser()
        self.template, self.max_length, self.what, self.tokens = template, max_length, what, tokens
        self.limit, self.sample, self.seed = limit, sample, seed
        self.max_pixels, self.pad = max_pixels, tuple(pad) if pad else None

    def load(self, context: DataContext) -> TrainingData:
        """The samples that can be used, and their pictures; every entry and every image is checked first.

        Raises VlmatchError naming file and entry of the first that can't be used, unless such are skipped.
        """
        if context.encoder is None:
            raise VlmatchError("recipe.visual.cached=true, but a json's pictures go through the encoder; make it false")
        conversations = Conversations(self.template, context.tokenizer)
        tokens_per_image = feature_shape(context.encoder, self.what)[0] * self.tokens
        skipped = Skipped(self.file, self.choices)
        entries = self._with_images(list(self._read(skipped)), skipped)
        kept = [entry for entry in entries if self._fits(entry, conversations, tokens_per_image, skipped)]
        skipped.tell(len(kept))
        paths = sorted({image for entry in kept for image in entry.images})
        samples = LazySamples(kept, paths, conversations, self.file.name, self.max_length, tokens_per_image)
        pictures = ImageFiles(self.folder, paths, context.encoder, self.max_pixels, self.pad)
        return TrainingData({self.file.stem: (1.0, samples)}, pictures, fingerprint_of(kept))

    def _read(self, skipped: "Skipped") -> Iterator[Conversation]:
        """The chosen conversations, without malformed ones."""
        for number, item in self._chosen(read_items(self.file, "data.path")):
            try:
                conversation = conversation_of(number, item)
                conversation.require_places()
            except EntryError as error:
                skipped.add("bad_conversations", number, error.problem)
            else:
                yield conversation

    def _chosen(self, items: list[Numbered]) -> list[Numbered]:
        """The first `limit` items, or a sample, in the file's order; the draw depends on their numbers in the file."""
        if self.sample is None:
            return items[: self.limit]
        return sorted(draw_order(items, self.seed, _number)[: self.sample], key=_number)

    def _with_images(self, entries: Sequence[Conversation], skipped: "Skipped") -> list[Conversation]:
        """The entries whose images can be used."""
        images = list(dict.fromkeys(image for entry in entries for image in entry.images))
        with ThreadPoolExecutor(max_workers=_READERS) as readers:
            found = readers.map(self._problem, images)
            problems = {image: problem for image, problem in zip(images, found, strict=True) if problem}
        bad = {entry.number: image for entry in entries for image in reversed(entry.images) if image in problems}
        for number, image in bad.items():
            skipped.add(
                "bad_images", number, f"{problems[image]}; {len(bad)} of {len(entries)} entries have bad images"
            )
        return [entry for entry in entries if entry.number not in bad]

    def _problem(self, image: str) -> str | None:
        """Why an image can't be used."""
        try:
            path = image_path(self.folder, image, "data.images")
            if self.choices["bad_images"] == "skip":
                open_image(path, self.max_pixels)
                return None
            header = image_header(path)
        except ImageError as error:
            return error.problem
        if header is not None and math.prod(header.size) > self.max_pixels:
            return f"image '{image}' has {header.size[0]} x {header.size[1]} pixels; the limit is {self.max_pixels:,}"
        return None

    def _fits(
        self, entry: Conversation, conversations: Conversations, tokens_per_image: int, skipped: "Skipped"
    ) -> bool:
        """Whether a conversation can be written, and is short enough or can be cut to be; counts it where not.

        No token is shorter than a byte, so that most conversations need not be tokenised; what may be cut only has to
        get as far as its first answer.
        """
        try:
            written = conversations.written(entry.turns)
        except VlmatchError as error:
            skipped.add("bad_conversations", entry.number, str(error))
            return False
        visual = len(entry.images) * tokens_per_image
        wanted = written.text[: written.learnt[0][0] + 1] if self.choices["too_long"] == "cut" else written.text
        if len(wanted.encode()) + visual < self.max_length:
            return True
        tokens = conversations.tokens_of(written)
        length = len(tokens) - len(entry.images) + visual
        if length <= self.max_length:
            return True
        said = f"{length} tokens, of which {visual} are pictures'; max_length is {self.max_length}"
        if self.choices["too_long"] == "cut":
            if any(label != IGNORED for label in cut(tokens, self.max_length, tokens_per_image).labels):
                return True
            said += ", where no answer of it has begun"
        skipped.add("too_long", entry.number, said)
        return False


class Skipped:
    """What was left out so far, by the key of the recipe that decides so; where none does, the first is an error."""

    def __init__(self, file: Path, choices: Mapping[str, str]) -> None:
        self.file, self.choices = file, choices
        self.counts: Counter[str] = Counter()
        self.first: dict[str, str] = {}

    def add(self, key: str, number: int, message: str) -> None:
        """Count an entry; raises VlmatchError unless such are skipped."""
        if self.choices[key] == "error":
            ways = " or ".join(CHOICES[key][1:])
            raise VlmatchError(
                f"{self.file}: entry {number}: {message}; mend it, or give recipe.stages.N.data.{key}={ways}"
            )
        self.counts[key] += 1
        self.first.setdefault(key, f"entry {number}: {message}")

    def tell(self, kept: int) -> None:
        """Log what was skipped; VlmatchError where nothing is left."""
        entries = kept + self.counts.total()
        for key, count in self.counts.items():
            log.warning("%s: %d of %d entries skipped (%s); %s", self.file, count, entries, key, self.first[key])
        if not kept:
            raise VlmatchError(f"{self.file}: no entry can be used; {next(iter(self.first.values()), 'there is none')}")


def _number(item: Numbered) -> int:
    return item[0]
