"""Which entries of a source become the probe: all, the first, or a sample; without repetitions, and not silently."""

import hashlib
import logging
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass

import numpy as np

from vlmatch.errors import VlmatchError
from vlmatch.probes.images import MAX_PIXELS
from vlmatch.probes.pairs import Pair, ProbeCounts, ProbeEntry, ProbeSet
from vlmatch.probes.perceptual import BITS
from vlmatch.probes.reading import Read, Reader

_NAMED = 3  # skipped entries that are named

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Options:
    """What can be asked of every probe; each is a key of its yaml.

    drop_duplicates : drop a pair if one kept before it has its caption (case and white space folded) or its image
        (byte for byte).
    drop_near_duplicates : drop a pair if one kept before it has an image within so many bits of its perceptual hash.
    limit : keep only the first so many pairs; nothing further is read.
    sample : keep so many pairs, drawn uniformly without replacement by `seed` from all entries. Which are drawn
        depends on their ids only, not on their order, and a larger sample holds the smaller one. Repeated pairs are
        replaced by further draws. The sample stands in the source's order.
    bad_images : 'error' names the first image that is missing or can't be read, and those that can't be decoded when
        their turn comes; 'skip' decodes all beforehand, leaves out the bad ones and entries without a caption, counts
        them and names the first few.
    max_pixels : an image with more is bad.
    """

    drop_duplicates: bool = True
    drop_near_duplicates: int | None = None
    limit: int | None = None
    sample: int | None = None
    seed: int = 0
    bad_images: str = "error"
    max_pixels: int = MAX_PIXELS

    def __post_init__(self) -> None:
        """Raises VlmatchError naming an option that is out of range."""
        for key, number in (("limit", self.limit), ("sample", self.sample)):
            if number is not None and number < 2:
                raise VlmatchError(f"probe.{key}={number}; a geometry needs at least 2 pairs, or null for all")
        if self.limit is not None and self.sample is not None:
            raise VlmatchError(
                f"probe.limit={self.limit} and probe.sample={self.sample}: the first so many, or a sample? Give one"
            )
        if self.bad_images not in ("error", "skip"):
            raise VlmatchError(f"probe.bad_images='{self.bad_images}' is unknown; choose error or skip")
        near = self.drop_near_duplicates
        if near is not None and not 0 <= near < BITS:
            raise VlmatchError(f"probe.drop_near_duplicates={near}; wanted 0 to {BITS - 1} bits, or null for none")

    @property
    def decode(self) -> bool:
        """Whether images must be decoded to choose among them."""
        return self.bad_images == "skip" or self.drop_near_duplicates is not None


def build(
    name: str,
    entries: Iterable[ProbeEntry],
    options: Options,
    *,
    source: str = "",
    licence: str = "none stated",
    skipped: Callable[[], Mapping[str, int]] = dict,
) -> ProbeSet:
    """Read the entries' images, check and choose among the pairs, and count what was left out.

    `skipped` is asked at the end for the entries that were no pairs, by reason. The counts are of what was read by
    then: with a limit or a sample that is not all.

    Raises VlmatchError on a repeated id, on an empty caption or a bad image unless these are skipped, or where
    fewer than two pairs are left.
    """
    places: dict[str, int] = {}
    if options.sample is not None:
        entries = list(entries)
        places = {entry.id: place for place, entry in enumerate(entries)}
        entries = sorted(entries, key=lambda entry: _lot(options.seed, entry.id))
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
    """What has been read so far of a probe, and what of it is kept."""

    def __init__(self, name: str, options: Options) -> None:
        self.name = name
        self.options = options
        self.kept: list[Pair] = []
        self.skipped: Counter[str] = Counter()
        self.dropped: Counter[str] = Counter()
        self.first_skipped: list[str] = []
        self._read: dict[str, set[str]] = {"ids": set(), "captions": set(), "images": set()}
        self._kept: dict[str, set[str]] = {"captions": set(), "images": set()}
        self._hashes = np.empty(256, dtype=np.uint64)  # of the kept; grows by doubling

    def add(self, read: Read) -> None:
        """Count one more entry, and keep it unless it is bad, or its caption or image is kept already."""
        entry = read.entry
        if entry.id in self._read["ids"]:
            raise VlmatchError(f"{self._at(entry)}id '{entry.id}' appears twice; every pair needs an id of its own")
        if read.problem is not None:
            self._skip(entry, str(read.problem), read.problem.reason)
            return
        caption = normalised(entry.caption)
        if not caption:
            message = f"the caption of '{entry.id}' is empty; give it a caption or remove the row"
            self._skip(entry, message, "without a caption")
            return
        self._read["ids"].add(entry.id)
        self._read["captions"].add(caption)
        self._read["images"].add(read.sha256)
        if repeated := self._repeated(read, caption):
            self.dropped[repeated] += 1
        else:
            self._keep(read, caption)

    def counts(self, skipped: Mapping[str, int], n_entries: int | None = None) -> ProbeCounts:
        """The counts of all that was added, and what else was skipped."""
        return ProbeCounts(
            read=len(self._read["ids"]),
            distinct_captions=len(self._read["captions"]),
            distinct_images=len(self._read["images"]),
            kept=len(self.kept),
            dropped=dict(self.dropped),
            skipped={reason: count for reason, count in {**skipped, **self.skipped}.items() if count},
            first_skipped=tuple(self.first_skipped),
            entries=n_entries,
        )

    def _repeated(self, read: Read, caption: str) -> str:
        """What of the pair is kept already, or ''."""
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

    def _keep(self, read: Read, caption: str) -> None:
        entry = read.entry
        if len(self.kept) == len(self._hashes):
            self._hashes = np.concatenate([self._hashes, np.empty_like(self._hashes)])
        self._hashes[len(self.kept)] = read.perceptual_hash or 0
        self._kept["captions"].add(caption)
        self._kept["images"].add(read.sha256)
        self.kept.append(Pair(entry.id, entry.image, entry.caption, read.sha256, entry.label))

    def _skip(self, entry: ProbeEntry, message: str, reason: str) -> None:
        """Count a bad entry where the user chose to skip such, else refuse it."""
        if self.options.bad_images == "error":
            raise VlmatchError(f"{self._at(entry)}{message}; or skip and count such entries: probe.bad_images=skip")
        self.skipped[reason] += 1
        if len(self.first_skipped) < _NAMED:
            self.first_skipped.append(f"{entry.where}: {message}" if entry.where else message)

    def _at(self, entry: ProbeEntry) -> str:
        return f"probe '{self.name}': {entry.where}: " if entry.where else f"probe '{self.name}': "


def normalised(caption: str) -> str:
    """The form in which two captions count as the same: case and white space folded."""
    return " ".join(caption.casefold().split())


def _lot(seed: int, identifier: str) -> bytes:
    return hashlib.sha256(f"{seed} {identifier}".encode()).digest()


def _check(name: str, counts: ProbeCounts) -> None:
    """Log what was skipped, and refuse what is no geometry."""
    reasons = ", ".join(f"{count:,} {reason}" for reason, count in counts.skipped.items())
    if counts.first_skipped:
        log.warning("probe '%s': skipped %s; the first: %s", name, reasons, " | ".join(counts.first_skipped))
    if counts.kept < 2:
        raise VlmatchError(
            f"probe '{name}': {counts.kept} pair{'s'[: counts.kept != 1]} left of {counts.read} read"
            + (f" (skipped: {reasons})" if reasons else "")
            + "; a geometry needs at least 2, and an answer worth trusting some hundreds"
        )
