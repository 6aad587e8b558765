"""Training data in LLaVA's format: conversations that are checked before a training, and tokenised on demand."""

import logging
import math
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import KW_ONLY, dataclass
from operator import itemgetter
from pathlib import Path
from typing import Literal

from vlmatch.errors import VlmatchError
from vlmatch.probes.images import MAX_PIXELS, ImageError, image_header, open_image
from vlmatch.probes.json_items import NumberedItem
from vlmatch.probes.llava_format import Conversation, conversation_of, fingerprint_of, read_items
from vlmatch.probes.places import image_of
from vlmatch.probes.problems import ON_BAD_ENTRY, EntryError, OnBadEntry
from vlmatch.probes.sampling import draw_order
from vlmatch.settings.recipe import What
from vlmatch.vlm.building import feature_shape
from vlmatch.vlm.conversations import Conversations
from vlmatch.vlm.lazy_samples import DATA_IMAGES, ImageFiles, LazySamples, cut
from vlmatch.vlm.tokens import IGNORED
from vlmatch.vlm.training_data import DataContext, DataSource, TrainingData

CHOICES: Mapping[str, tuple[str, ...]] = {
    "bad_images": ON_BAD_ENTRY,
    "bad_conversations": ON_BAD_ENTRY,
    "too_long": (*ON_BAD_ENTRY, "cut"),
}

_READERS = 8  # threads that read images

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class LlavaJson(DataSource):
    """A stage's training data in LLaVA's format (Liu et al., 2023): LCS-558K, CC3M-595K, the 665K mixture, or your own.

    path: a json list, or one object a line: {image, conversations: [{from, value}, ...]}, or ShareGPT's {images,
    messages: [{role, content}, ...]}. `image` and `images` are a path or a list of paths, or absent.
    images: the folder or .zip that image paths start from; a path that leads out of it is a bad image, unless
    images_outside is true.
    template: one of `conversations.TEMPLATES`. max_length: the largest number of tokens of a sample, images included.
    what, tokens: the recipe's visual.what and projector.tokens, which decide how many tokens an image takes.
    limit: use only the first `limit` entries. sample: use only `sample` entries, drawn by `seed`; a larger sample
    contains the smaller ones.
    bad_images: 'error' stops before the training if an image is missing, has no readable header, or has more than
    `max_pixels` pixels, and during the training if one can't be decoded. 'skip' decodes all images beforehand and
    leaves out the entries with bad ones.
    bad_conversations: entries that are malformed or empty, or whose roles are out of order: 'error' stops at the first
    one, 'skip' leaves them out.
    too_long: samples with too many tokens: 'error' stops at the first one, 'skip' leaves them out, 'cut' cuts off their
    end and leaves out those whose first answer would be cut off. Entries that are left out are counted and logged.
    pad: put each image on a square of this colour (RGB, 0 to 255), so that the encoder's preparation crops nothing, as
    in LLaVA-1.5's second stage; None: no square.
    """

    path: str | Path
    images: str | Path
    _: KW_ONLY
    template: str
    max_length: int
    what: What
    tokens: int
    limit: int | None = None
    sample: int | None = None
    seed: int = 0
    bad_images: OnBadEntry = "error"
    bad_conversations: OnBadEntry = "error"
    too_long: OnBadEntry | Literal["cut"] = "error"
    max_pixels: int = MAX_PIXELS
    pad: Sequence[int] | None = None
    images_outside: bool = False

    def __post_init__(self) -> None:
        """Raises VlmatchError naming an option that is unknown, and on both a limit and a sample."""
        for key, value in self.choices.items():
            if value not in CHOICES[key]:
                raise VlmatchError(
                    f"recipe.stages.N.data.{key}='{value}' is unknown; choose one of {', '.join(CHOICES[key])}"
                )
        if self.limit is not None and self.sample is not None:
            raise VlmatchError(
                f"recipe.stages.N.data.limit={self.limit} and recipe.stages.N.data.sample={self.sample} exclude each "
                "other; give one of them"
            )

    @property
    def choices(self) -> dict[str, str]:
        """What is done with entries that can't be used, by the key that says so."""
        return {key: getattr(self, key) for key in CHOICES}

    @property
    def file(self) -> Path:
        """The json."""
        return Path(self.path).expanduser()

    @property
    def folder(self) -> Path:
        """The folder or .zip of the images."""
        return Path(self.images).expanduser()

    def load(self, context: DataContext) -> TrainingData:
        """The usable samples and their images; every entry and every image is checked first.

        Raises VlmatchError that names the file and its first bad entry, unless the recipe skips bad entries.
        """
        if context.encoder is None:
            raise VlmatchError(
                "recipe.visual.cached=true, but the pictures of a json are not cached; give recipe.visual.cached=false"
            )
        conversations = Conversations(self.template, context.tokenizer)
        tokens_per_image = feature_shape(context.encoder, self.what)[0] * self.tokens
        skipped = Skipped(self.file, self.choices)
        entries = self._with_images(list(self._read(skipped)), skipped)
        kept = [entry for entry in entries if self._fits(entry, conversations, tokens_per_image, skipped)]
        skipped.tell(len(kept))
        paths = sorted({image for entry in kept for image in entry.images})
        samples = LazySamples(kept, paths, conversations, self.file.name, self.max_length, tokens_per_image)
        pad = tuple(self.pad) if self.pad else None
        pictures = ImageFiles(self.folder, paths, context.encoder, self.max_pixels, pad, self.images_outside)
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

    def _chosen(self, items: list[NumberedItem]) -> list[NumberedItem]:
        """The first `limit` items, or a sample, in the file's order; the draw depends on their numbers in the file."""
        if self.sample is None:
            return items[: self.limit]
        return sorted(draw_order(items, self.seed, itemgetter(0))[: self.sample], key=itemgetter(0))

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
        """Why an image can't be used; None if it can."""
        try:
            source = image_of(self.folder, image, DATA_IMAGES, outside=self.images_outside)
            if self.bad_images == "skip":
                open_image(source, self.max_pixels)
                return None
            header = image_header(source)
        except ImageError as error:
            return error.problem
        if header is not None and math.prod(header.size) > self.max_pixels:
            return f"image '{image}' has {header.size[0]} x {header.size[1]} pixels; the limit is {self.max_pixels:,}"
        return None

    def _fits(
        self, entry: Conversation, conversations: Conversations, tokens_per_image: int, skipped: "Skipped"
    ) -> bool:
        """Whether a conversation fits the template and the maximum length; if not, it is counted as skipped.

        Every token has at least one byte, so most conversations need no tokenising here. If samples may be cut, only
        the part up to the first answer must fit.
        """
        try:
            written = conversations.written(entry.turns)
        except VlmatchError as error:
            skipped.add("bad_conversations", entry.number, str(error))
            return False
        visual = len(entry.images) * tokens_per_image
        wanted = written.text[: written.learnt[0][0] + 1] if self.too_long == "cut" else written.text
        if len(wanted.encode()) + visual < self.max_length:
            return True
        tokens = conversations.tokens_of(written)
        length = len(tokens) - len(entry.images) + visual
        if length <= self.max_length:
            return True
        said = f"{length} tokens, {visual} of them for images; max_length is {self.max_length}"
        if self.too_long == "cut":
            if any(label != IGNORED for label in cut(tokens, self.max_length, tokens_per_image).labels):
                return True
            said += ", and cutting would leave no answer"
        skipped.add("too_long", entry.number, said)
        return False


class Skipped:
    """Counts skipped entries by the recipe's key that allows skipping; if it does not, the first one is an error."""

    def __init__(self, file: Path, choices: Mapping[str, str]) -> None:
        self.file, self.choices = file, choices
        self.counts: Counter[str] = Counter()
        self.first: dict[str, str] = {}

    def add(self, key: str, number: int, message: str) -> None:
        """Count an entry. Raises VlmatchError unless the recipe skips such entries."""
        if self.choices[key] == "error":
            ways = " or ".join(CHOICES[key][1:])
            raise VlmatchError(
                f"{self.file}: entry {number}: {message}; correct it, or give recipe.stages.N.data.{key}={ways}"
            )
        self.counts[key] += 1
        self.first.setdefault(key, f"entry {number}: {message}")

    def tell(self, kept: int) -> None:
        """Log what was skipped. Raises VlmatchError if nothing is left."""
        entries = kept + self.counts.total()
        for key, count in self.counts.items():
            log.warning("%s: %d of %d entries skipped (%s); %s", self.file, count, entries, key, self.first[key])
        if not kept:
            raise VlmatchError(f"{self.file}: no entry can be used; {next(iter(self.first.values()), 'it has none')}")
