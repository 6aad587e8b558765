"""Building the split: every picture goes into one share, and look-alikes and equal concepts go together."""

import logging
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import cast

from vlmatch.errors import VlmatchError
from vlmatch.objects import buildable
from vlmatch.probes.concepts import concept, words_of
from vlmatch.probes.images import MAX_PIXELS
from vlmatch.probes.items import PROBE, Item, Split
from vlmatch.probes.pairs import ProbeEntry, ProbeSet
from vlmatch.probes.reading import Reader
from vlmatch.probes.verify import verify_folder
from vlmatch_study.split.components import components, position
from vlmatch_study.split.sources import Candidate, Source

log = logging.getLogger(__name__)

FETCH = "task=fetch task.what=split"
SERIES = frozenset(
    {"clipart", "collection", "iconset", "theme"}
)  # words in the name of a series, which says nothing about a picture


@dataclass(frozen=True)
class Hashed:
    """A candidate with its perceptual hash; `kind` is `PROBE` for a stamp."""

    candidate: Candidate
    source: str
    kind: str
    hash: int

    @property
    def keys(self) -> tuple[str, ...]:
        """The names of its concept; the item gets the first."""
        named = concept(self.candidate.caption)
        point = self.candidate.code_point
        return (named,) if point is None else (f"U+{point}", named)


@buildable
def split(
    probe: ProbeSet,
    sources: Mapping[str, Source],
    shares: Mapping[str, Mapping[str, float]],
    *,
    seed: int,
    max_words: int,
    distance: int,
    per_concept: int,
) -> Split:
    """Divide the sources into shares, so that nothing in one share is in another.

    Two candidates must stay together if they have one concept (`concepts.concept`, or an emoji's code point), if their
    perceptual hashes differ in at most `distance` bits, or if both must stay with a third one. So the candidates form
    components, and each component goes into one share:

    - A component with a picture of `probe`, the stamps, goes to the probe. Only its stamps are kept.
    - Any other component goes where the hash of its key and of `seed` falls in the table of its kind. `shares` maps
      each kind to its shares and their parts. If a component has several kinds, the first of them in `shares` decides;
      items of another kind are dropped unless that kind has the share too.

    So an added item moves others only if it joins components, or brings a new concept or kind into one.

    Of the pictures of one concept in a source, the first `per_concept` are kept, without those whose hash repeats.
    Captions of more than `max_words` words are dropped.

    Raises NotHereError if a source has not been fetched, VlmatchError if a source differs from its .dvc file, or
    the parts of a kind do not add up to 1.
    """
    check_shares(shares)
    dropped: dict[str, Counter[str]] = {}
    offered = {key: source.candidates() for key, source in sources.items()}
    hashed = _stamps(probe)
    known = words_of([*probe.captions, *(c.keywords for found in offered.values() for c in found)])
    for key, source in sources.items():
        reasons = dropped.setdefault(source.name, Counter())
        hashed += kept(source, offered[key], known, max_words, reasons)
    named = components([item.keys for item in hashed], [item.hash for item in hashed], distance)
    items = assigned(hashed, named, shares, seed, per_concept, dropped)
    return Split(items, dropped, largest_of(hashed, named))


def _stamps(stamps: ProbeSet) -> list[Hashed]:
    """Every stamp that can be decoded."""
    candidates = [Candidate(pair.id, cast("Path", pair.image), pair.caption, pair.label) for pair in stamps.pairs]
    return hashed_of(candidates, "stamps", PROBE, Counter())


def kept(
    source: Source,
    offered: Sequence[Candidate],
    known: frozenset[str],
    max_words: int,
    reasons: Counter[str],
    fetched_by: str = FETCH,
) -> list[Hashed]:
    """The usable candidates of a source; `reasons` counts why others are dropped.

    fetched_by: the command that fetches the source, for messages.
    """
    folder = Path(source.path)
    recorded = folder.with_name(f"{folder.name}.dvc")
    if recorded.is_file():
        verify_folder(folder, recorded, fetched_by)
    usable = []
    for candidate in offered:
        if reason := _against(candidate, known, max_words):
            reasons[reason] += 1
        else:
            usable.append(candidate)
    return hashed_of(usable, source.name, source.kind, reasons)


def hashed_of(candidates: Sequence[Candidate], source: str, kind: str, reasons: Counter[str]) -> list[Hashed]:
    """The candidates with their perceptual hashes, which are cached."""
    reader = Reader(f"split-{source}", decode=True, max_pixels=MAX_PIXELS)
    entries = (ProbeEntry(candidate.id, candidate.image, candidate.caption) for candidate in candidates)
    found = []
    for candidate, read in zip(candidates, reader.read(entries), strict=True):
        if read.perceptual_hash is None:
            log.warning("split: %s", read.problem)
            reasons["image " + (read.problem.reason if read.problem else "not read")] += 1
        else:
            found.append(Hashed(candidate, source, kind, read.perceptual_hash))
    reader.save()
    return found


def _against(candidate: Candidate, known: frozenset[str], max_words: int) -> str:
    """Why the candidate's caption cannot be used, or ''.

    `known` holds the words of the stamps' captions and of the emoji's names and tags, which are English. Titles may be
    in other languages, and file names may hold authors and abbreviations.
    """
    words = words_of([candidate.caption])
    telling = {word for word in words if len(word) > 2}
    if not telling or telling & SERIES:
        return "no caption"
    if len(candidate.caption.split()) > max_words:
        return f"more than {max_words} words"
    if candidate.guess and telling < words:
        return "file name with abbreviations"
    if candidate.guess and not words <= known:
        return "file name with unknown words"
    return "" if 2 * len(telling & known) >= len(telling) else "unknown words"


def assigned(
    hashed: Sequence[Hashed],
    named: Sequence[int],
    shares: Mapping[str, Mapping[str, float]],
    seed: int,
    per_concept: int,
    dropped: dict[str, Counter[str]],
) -> tuple[Item, ...]:
    """The items of all shares, in the order of the candidates."""
    members: dict[int, list[Hashed]] = {}
    for item, component in zip(hashed, named, strict=True):
        members.setdefault(component, []).append(item)
    chosen = {component: _share(found, shares, seed) for component, found in members.items()}
    items = []
    taken: dict[tuple[str, str], list[int]] = {}
    for item, component in zip(hashed, named, strict=True):
        share = chosen[component]
        alike = taken.setdefault((item.source, item.keys[-1]), [])
        if share != item.kind and share not in shares.get(item.kind, {}):
            dropped[item.source]["with a stamp" if share == PROBE else "with another kind"] += 1
        elif share != PROBE and (item.hash in alike or len(alike) == per_concept):
            dropped[item.source]["repeated" if item.hash in alike else f"beyond {per_concept} of a concept"] += 1
        else:
            alike.append(item.hash)
            items.append(_item(item, share))
    return tuple(items)


def _share(members: Sequence[Hashed], shares: Mapping[str, Mapping[str, float]], seed: int) -> str:
    """The share that a component goes into."""
    kinds = {item.kind for item in members}
    if PROBE in kinds:
        return PROBE
    table = next(table for kind, table in shares.items() if kind in kinds)
    at = position({key for item in members for key in item.keys}, seed)
    for share, part in table.items():
        if (at := at - part) < 0:
            return share
    return list(table)[-1]  # rounding: the parts may add up to a little less than 1


def _item(hashed: Hashed, share: str) -> Item:
    found = hashed.candidate
    return Item(
        f"{hashed.source}/{found.id}",
        found.image,
        found.caption,
        hashed.keys[0],
        hashed.source,
        found.category,
        share,
    )


def largest_of(hashed: Sequence[Hashed], named: Sequence[int], number: int = 8) -> tuple[tuple[int, str], ...]:
    """The largest components: the number of candidates, and one concept of each."""
    sizes = Counter(named).most_common(number)
    return tuple((size, hashed[named.index(component)].keys[0]) for component, size in sizes)


def check_shares(shares: Mapping[str, Mapping[str, float]]) -> None:
    """Raise VlmatchError if the parts of a kind do not add up to 1, or if a share is the stamps'."""
    for kind, table in shares.items():
        if PROBE in table or any(part <= 0 for part in table.values()) or abs(sum(table.values()) - 1) > 1e-9:
            raise VlmatchError(
                f"split.shares.{kind}={dict(table)}: wanted positive parts that add up to 1, and no share '{PROBE}', "
                "which is for the stamps alone"
            )
