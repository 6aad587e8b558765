"""One split of all data: encoder training, VLM data, benchmarks and probe share no concept and no similar picture."""

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

SERIES = frozenset({"clipart", "collection", "iconset", "theme"})  # words of a series' name, which says nothing


@dataclass(frozen=True)
class _Hashed:
    """A candidate on its way into a component; `kind` is `PROBE` for a stamp."""

    candidate: Candidate
    source: str
    kind: str
    hash: int

    @property
    def keys(self) -> tuple[str, ...]:
        """What names its concept; the first is the item's."""
        named = concept(self.candidate.caption)
        point = self.candidate.code_point
        return (named,) if point is None else (f"U+{point}", named)


@buildable
def split(
    stamps: ProbeSet,
    sources: Mapping[str, Source],
    shares: Mapping[str, Mapping[str, float]],
    *,
    seed: int,
    max_words: int,
    distance: int,
    per_concept: int,
) -> Split:
    """Divide the sources into shares, so that nothing in one share is in another.

    Candidates of one concept (`sources.concept`, or an emoji's code point), or whose perceptual hashes lie within
    `distance` bits, must stay together, and so must what either joins in turn. Each such component goes where the
    hash of its key and `seed` falls in the table of its kind (`shares`: kind, then share and its part), so that an
    added item moves others only where it joins components, or brings a new concept or kind into one. A component with a
    stamp in it is the probe's: of it only the stamps are kept. One in which kinds meet is of the kind that
    `shares` has first, and what is of another kind is dropped unless that kind has the share too.

    Of one concept's pictures in a source, the first `per_concept` are kept, and none that looks like one before it.

    Raises NotHereError where a source has not been fetched, VlmatchError where it differs from its .dvc file or
    the parts of a kind don't add up to 1.
    """
    _check(shares)
    dropped: dict[str, Counter[str]] = {}
    offered = {key: source.candidates() for key, source in sources.items()}
    hashed = _stamps(stamps)
    known = words_of([*stamps.captions, *(c.keywords for found in offered.values() for c in found)])
    for key, source in sources.items():
        reasons = dropped.setdefault(source.name, Counter())
        hashed += _kept(source, offered[key], known, max_words, reasons)
    named = components([item.keys for item in hashed], [item.hash for item in hashed], distance)
    items = _assigned(hashed, named, shares, seed, per_concept, dropped)
    return Split(items, dropped, _largest(hashed, named))


def _stamps(stamps: ProbeSet) -> list[_Hashed]:
    """Every stamp that can be decoded."""
    candidates = [Candidate(pair.id, cast("Path", pair.image), pair.caption, pair.label) for pair in stamps.pairs]
    return _hashed(candidates, "stamps", PROBE, Counter())


def _kept(
    source: Source, offered: Sequence[Candidate], known: frozenset[str], max_words: int, reasons: Counter[str]
) -> list[_Hashed]:
    """The candidates of a source that can be used; the reasons against the others are counted."""
    folder = Path(source.path)
    recorded = folder.with_name(f"{folder.name}.dvc")
    if recorded.is_file():
        verify_folder(folder, recorded, "task=fetch task.what=split")
    usable = []
    for candidate in offered:
        if reason := _against(candidate, known, max_words):
            reasons[reason] += 1
        else:
            usable.append(candidate)
    return _hashed(usable, source.name, source.kind, reasons)


def _hashed(candidates: Sequence[Candidate], source: str, kind: str, reasons: Counter[str]) -> list[_Hashed]:
    """The candidates with their perceptual hashes, which the cache holds after the first time."""
    reader = Reader(f"split-{source}", decode=True, max_pixels=MAX_PIXELS)
    entries = (ProbeEntry(candidate.id, candidate.image, candidate.caption) for candidate in candidates)
    found = []
    for candidate, read in zip(candidates, reader.read(entries), strict=True):
        if read.perceptual_hash is None:
            log.warning("split: %s", read.problem)
            reasons["image " + (read.problem.reason if read.problem else "not read")] += 1
        else:
            found.append(_Hashed(candidate, source, kind, read.perceptual_hash))
    reader.save()
    return found


def _against(candidate: Candidate, known: frozenset[str], max_words: int) -> str:
    """Why the candidate's caption can't be used, or ''.

    Words are known from the stamps' captions and the emoji's names and tags, which are English. Titles are in several
    languages, file names hold authors and abbreviations.
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


def _assigned(
    hashed: Sequence[_Hashed],
    named: Sequence[int],
    shares: Mapping[str, Mapping[str, float]],
    seed: int,
    per_concept: int,
    dropped: dict[str, Counter[str]],
) -> tuple[Item, ...]:
    """The items of all shares, in the order of the candidates."""
    members: dict[int, list[_Hashed]] = {}
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


def _share(members: Sequence[_Hashed], shares: Mapping[str, Mapping[str, float]], seed: int) -> str:
    """Where a component goes."""
    kinds = {item.kind for item in members}
    if PROBE in kinds:
        return PROBE
    table = next(table for kind, table in shares.items() if kind in kinds)
    at = position({key for item in members for key in item.keys}, seed)
    for share, part in table.items():
        if (at := at - part) < 0:
            return share
    return list(table)[-1]  # parts may add up to a little less than 1


def _item(hashed: _Hashed, share: str) -> Item:
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


def _largest(hashed: Sequence[_Hashed], named: Sequence[int], number: int = 8) -> tuple[tuple[int, str], ...]:
    sizes = Counter(named).most_common(number)
    return tuple((size, hashed[named.index(component)].keys[0]) for component, size in sizes)


def _check(shares: Mapping[str, Mapping[str, float]]) -> None:
    for kind, table in shares.items():
        if PROBE in table or any(part <= 0 for part in table.values()) or abs(sum(table.values()) - 1) > 1e-9:
            raise VlmatchError(
                f"split.shares.{kind}={dict(table)}: wanted positive parts that add up to 1, none of them '{PROBE}', "
                "which is the stamps'"
            )
