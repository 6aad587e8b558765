"""Choose which entries of a source become the probe, drop repetitions, and count everything that is left out."""

import logging
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, replace

import numpy as np

from vlmatch.errors import VlmatchError, one_line
from vlmatch.files import require_folder_name
from vlmatch.probes.captions import is_number, require_caption
from vlmatch.probes.images import MAX_PIXELS
from vlmatch.probes.pairs import Pair, ProbeCounts, ProbeEntry, ProbeSet
from vlmatch.probes.perceptual import BITS
from vlmatch.probes.problems import ON_BAD_ENTRY, SKIPPING, EntryError, OnBadEntry
from vlmatch.probes.reading import ReadEntry, Reader
from vlmatch.probes.sampling import draw_order
from vlmatch.probes.text import require_unicode

_QUOTED = 3  # skipped entries that are quoted

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class ProbeOptions:
    """The options of every probe; each is a key of its yaml.

    drop_duplicates : drop a pair whose caption (up to case and white space) or image (byte for byte) an earlier kept
        pair has.
    drop_near_duplicates : drop a pair whose image is within this many bits of an earlier kept one, by perceptual hash.
    limit : keep only this many pairs, the first ones; the rest is not read.
    sample : keep this many pairs, drawn by `seed` from all entries, uniformly without replacement. The draw depends on
        the entries' ids only, not on their order, and a larger sample contains the smaller one. Repeated pairs are
        replaced by further draws. The sample keeps the source's order.
    bad_rows : 'error' stops at the first entry that can't be used: a malformed row, broken text, no caption, a repeated
        id, an image that is missing or can't be read; one that can't be decoded is an error when it is embedded. 'skip'
        decodes all images beforehand, leaves out the bad entries, counts them by reason and quotes the first few. A
        source that is broken as a whole is an error either way.
    bad_images : the old name of `bad_rows`; None: not given.
    max_pixels : an image with more pixels is bad.
    """

    drop_duplicates: bool = True
    drop_near_duplicates: int | None = None
    limit: int | None = None
    sample: int | None = None
    seed: int = 0
    bad_rows: OnBadEntry = "error"
    bad_images: OnBadEntry | None = None
    max_pixels: int = MAX_PIXELS

    def __post_init__(self) -> None:
        """Raises VlmatchError naming an option that is out of range or of another type."""
        _require("drop_duplicates", self.drop_duplicates, isinstance(self.drop_duplicates, bool), "true or false")
        near = self.drop_near_duplicates
        in_range = near is None or (_is_whole(near) and 0 <= near < BITS)
        _require("drop_near_duplicates", near, in_range, f"0 to {BITS - 1} bits, or null")
        for key, number in (("limit", self.limit), ("sample", self.sample)):
            wanted = "a whole number of at least 2, because a geometry needs 2 pairs, or null for all"
            _require(key, number, number is None or (_is_whole(number) and number >= 2), wanted)
        if self.limit is not None and self.sample is not None:
            raise VlmatchError(
                f"probe.limit={self.limit} and probe.sample={self.sample} exclude each other; give one of them"
            )
        _require("seed", self.seed, _is_whole(self.seed), "a whole number")
        _require("bad_rows", self.bad_rows, self.bad_rows in ON_BAD_ENTRY, "error or skip")
        old = "error or skip; its new name is probe.bad_rows"
        _require("bad_images", self.bad_images, self.bad_images in (None, *ON_BAD_ENTRY), old)
        _require(
            "max_pixels", self.max_pixels, _is_whole(self.max_pixels) and self.max_pixels > 0, "a number of pixels"
        )

    @property
    def decode(self) -> bool:
        """Whether images must be decoded to choose between pairs."""
        return self.skip or self.drop_near_duplicates is not None

    @property
    def skip(self) -> bool:
        """Whether entries that can't be used are left out and counted."""
        return "skip" in (self.bad_rows, self.bad_images)


def build_probe_set(
    name: str,
    entries: Iterable[ProbeEntry],
    options: ProbeOptions,
    *,
    source: str = "",
    licence: str = "none stated",
    skipped: Callable[[], Mapping[str, int]] = dict,
) -> ProbeSet:
    """Read the entries' images, check and select the pairs, and count what was left out.

    `skipped` is called at the end and returns, by reason, the number of entries that the source itself left out. All
    counts cover only what was read: with a limit or a sample, that is not the whole source.

    Raises VlmatchError if `name` can't name a folder, on a repeated id, on a bad entry unless these are skipped, or if
    fewer than two pairs are left.
    """
    require_folder_name("probe.name", name)
    entries = _guarded(name, entries)
    places: dict[str, int] = {}
    if options.sample is not None:
        entries = list(entries)
        places = {entry.id: place for place, entry in enumerate(entries)}
        entries = draw_order(entries, options.seed, lambda entry: entry.id)
    tally = Tally(name, options)
    reader = Reader(name, decode=options.decode, max_pixels=options.max_pixels)
    for read in reader.read(entries):
        tally.add(read)
        if len(tally.kept) in (options.limit, options.sample):
            break
    reader.save()
    counts = tally.counts(skipped(), n_entries=len(places) or None)
    _check(name, counts)
    kept = sorted(tally.kept, key=lambda pair: places[pair.id]) if places else tally.kept
    return ProbeSet(name, tuple(kept), counts, source, licence, options.max_pixels)


class Tally:
    """The pairs that have been kept so far, and the counts of those that have not."""

    def __init__(self, name: str, options: ProbeOptions) -> None:
        self.name = name
        self.options = options
        self.kept: list[Pair] = []
        self.skipped: Counter[str] = Counter()
        self.dropped: Counter[str] = Counter()
        self.first_skipped: list[str] = []
        self.several_captions = 0
        self.number_captions = 0
        self._read: dict[str, set[str]] = {"ids": set(), "captions": set(), "images": set()}
        self._kept: dict[str, set[str]] = {"captions": set(), "images": set()}
        self._hashes = np.empty(256, dtype=np.uint64)  # of the kept images; grows by doubling

    def add(self, read: ReadEntry) -> None:
        """Count one more entry, and keep it unless it is bad, or its caption or image has been kept before."""
        try:
            self._require_usable(read)
        except EntryError as problem:
            self._skip(read.entry, problem)
            return
        caption = normalised(read.entry.caption)
        self._count(read, caption)
        if repeated := self._repeated(read, caption):
            self.dropped[repeated] += 1
        else:
            self._keep(read, caption)

    def counts(self, skipped: Mapping[str, int], n_entries: int | None = None) -> ProbeCounts:
        """The counts of all entries that were added, and of those in `skipped`, which the source left out."""
        all_skipped = Counter(skipped) + self.skipped
        return ProbeCounts(
            read=len(self._read["ids"]),
            distinct_captions=len(self._read["captions"]),
            distinct_images=len(self._read["images"]),
            kept=len(self.kept),
            dropped=dict(self.dropped),
            skipped=dict(all_skipped),
            first_skipped=tuple(self.first_skipped),
            entries=n_entries,
            several_captions=self.several_captions,
            number_captions=self.number_captions,
        )

    def _require_usable(self, read: ReadEntry) -> None:
        """Raise EntryError if the entry is bad."""
        entry = read.entry
        if read.problem is not None:
            raise read.problem
        if entry.id in self._read["ids"]:
            raise EntryError(f"id '{entry.id}' appears twice", "with a repeated id", "give every pair its own id")
        require_caption(entry.id, entry.caption)

    def _count(self, read: ReadEntry, caption: str) -> None:
        self._read["ids"].add(read.entry.id)
        self._read["captions"].add(caption)
        self._read["images"].add(read.sha256)
        self.several_captions += read.entry.n_captions > 1
        self.number_captions += is_number(caption)

    def _repeated(self, read: ReadEntry, caption: str) -> str:
        """Which part of the pair has been kept before; '' if none."""
        if self.options.drop_duplicates:
            if read.sha256 in self._kept["images"]:
                return "a repeated image"
            if caption in self._kept["captions"]:
                return "a repeated caption"
        near = self.options.drop_near_duplicates
        if near is not None and read.perceptual_hash is not None:
            differing = np.bitwise_count(self._hashes[: len(self.kept)] ^ np.uint64(read.perceptual_hash))
            if (differing <= near).any():
                return "a similar image"
        return ""

    def _keep(self, read: ReadEntry, caption: str) -> None:
        entry = read.entry
        if len(self.kept) == len(self._hashes):
            self._hashes = np.concatenate([self._hashes, np.empty_like(self._hashes)])
        self._hashes[len(self.kept)] = read.perceptual_hash or 0
        self._kept["captions"].add(caption)
        self._kept["images"].add(read.sha256)
        self.kept.append(Pair(entry.id, entry.image, entry.caption, read.sha256, entry.label))

    def _skip(self, entry: ProbeEntry, problem: EntryError) -> None:
        """Count a bad entry if the user chose to skip bad entries; otherwise raise VlmatchError."""
        if not self.options.skip:
            raise VlmatchError(f"{self._at(entry)}{problem}; {SKIPPING}")
        self.skipped[problem.reason] += 1
        if len(self.first_skipped) < _QUOTED:
            self.first_skipped.append(f"{entry.where}: {problem.problem}" if entry.where else problem.problem)

    def _at(self, entry: ProbeEntry) -> str:
        return f"probe '{self.name}': {entry.where}: " if entry.where else f"probe '{self.name}': "


def normalised(caption: str) -> str:
    """The form in which two captions count as the same: case and white space folded."""
    return " ".join(caption.casefold().split())


def _require(key: str, value: object, right: bool, wanted: str) -> None:
    if not right:
        raise VlmatchError(f"probe.{key}={value!r}; wanted {wanted}")


def _is_whole(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


def _guarded(name: str, entries: Iterable[ProbeEntry]) -> Iterator[ProbeEntry]:
    """The entries, with their texts checked. Whatever is raised while the source is read becomes VlmatchError."""
    try:
        for entry in entries:
            yield _valid_unicode(entry)
    except (VlmatchError, MemoryError):
        raise
    except Exception as error:
        raise VlmatchError(
            f"probe '{name}': its source can't be read ({type(error).__name__}: {one_line(error)[:200]}); "
            "fetch or write it again"
        ) from error


def _valid_unicode(entry: ProbeEntry) -> ProbeEntry:
    """The entry, marked as unusable if a text of it can't be encoded: JSON may hold half of an emoji."""
    texts = {"id": entry.id, "caption": entry.caption, "label": entry.label or "", "image's name": entry.image.name}
    try:
        for what, text in texts.items():
            require_unicode(f"its {what}", text)
    except EntryError as problem:
        name = entry.id.encode(errors="backslashreplace").decode()
        return replace(ProbeEntry.unusable(name, problem), where=entry.where or f"'{name}'")
    return entry


def _check(name: str, counts: ProbeCounts) -> None:
    """Log what was skipped; raise VlmatchError if fewer than two pairs are left."""
    reasons = ", ".join(f"{count:,} {reason}" for reason, count in counts.skipped.items())
    if counts.first_skipped:
        log.warning("probe '%s': skipped %s; the first: %s", name, reasons, " | ".join(counts.first_skipped))
    if counts.number_captions:
        log.warning(
            "probe '%s': %s of %s captions are nothing but a number; check that they are captions, and not classes",
            name,
            f"{counts.number_captions:,}",
            f"{counts.read:,}",
        )
    if counts.kept < 2:
        raise VlmatchError(
            f"probe '{name}': {counts.kept} pair{'s'[: counts.kept != 1]} left of {counts.read} read"
            + (f" (skipped: {reasons})" if reasons else "")
            + "; the scores need at least 2 pairs, and a reliable ranking needs a few hundred"
        )
