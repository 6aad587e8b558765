"""A further domain beside a split: pictures in shares of their own, which have nothing in common with the split's."""

from collections import Counter
from collections.abc import Mapping

from vlmatch.objects import buildable
from vlmatch.probes.concepts import concept, words_of
from vlmatch.probes.items import Split
from vlmatch_study.split.building import Hashed, assigned, check_shares, hashed_of, kept, largest_of
from vlmatch_study.split.components import components
from vlmatch_study.split.sources import Candidate, Source


@buildable
def with_domain(
    split: Split,
    sources: Mapping[str, Source],
    shares: Mapping[str, Mapping[str, float]],
    *,
    fetched_by: str,
    seed: int,
    max_words: int,
    distance: int,
    per_concept: int,
) -> Split:
    """Add the pictures of `sources` to a split, whose own items stay in their shares.

    Pictures form components with each other and with the split's items as in `building.split`. A component with an item
    of the split is dropped, so that no added picture has a concept in common with the split, or looks like one of its
    pictures. Each of the others goes into one of `shares` of its kind. Every word of a name counts as known.

    fetched_by: the command that fetches the sources, for messages.

    Raises NotHereError if a source has not been fetched, VlmatchError if a source differs from its .dvc file, or
    the parts of a kind do not add up to 1.
    """
    check_shares(shares)
    dropped: dict[str, Counter[str]] = {source.name: Counter() for source in sources.values()}
    found: list[Hashed] = []
    for source in sources.values():
        offered = source.candidates()
        known = words_of(candidate.keywords for candidate in offered)
        found += kept(source, offered, known, max_words, dropped[source.name], fetched_by)
    keys = [item.keys for item in found] + [(item.concept, concept(item.caption)) for item in split.items]
    named = components(keys, [item.hash for item in found] + _hashes(split), distance)
    taken = set(named[len(found) :])
    free = [number for number, component in enumerate(named[: len(found)]) if component not in taken]
    for item, component in zip(found, named, strict=False):
        if component in taken:
            dropped[item.source]["in a group with a picture of the split"] += 1
    groups = [found[number] for number in free], [named[number] for number in free]
    added = assigned(*groups, shares, seed, per_concept, dropped)
    return Split((*split.items, *added), {**split.dropped, **dropped}, largest_of(*groups), split.fingerprint)


def _hashes(split: Split) -> list[int]:
    """The perceptual hash of each item of a split; building the split has cached them."""
    by_id: dict[str, int] = {}
    for source in {item.source for item in split.items}:
        items = [item for item in split.items if item.source == source]
        read = hashed_of([Candidate(item.id, item.image, item.caption) for item in items], source, "", Counter())
        by_id |= {each.candidate.id: each.hash for each in read}
    return [by_id[item.id] for item in split.items]
