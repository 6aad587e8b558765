"""A share of a split as a probe set: the second probe, and the images that VLMs are trained and measured on."""

from collections.abc import Sequence
from typing import Any

from vlmatch.objects import buildable
from vlmatch.probes.items import Item, Split
from vlmatch.probes.pairs import ProbeEntry, ProbeSet
from vlmatch.probes.selection import ProbeOptions, build_probe_set


@buildable
def share_of(
    split: Split,
    share: str,
    name: str | None = None,
    sources: Sequence[str] | None = None,
    source: str = "",
    licence: str = "none stated",
    **options: Any,
) -> ProbeSet:
    """The items of one share of the split as a probe set. sources: None takes all of them.

    `options` are those of `selection.ProbeOptions`.

    Raises VlmatchError if the split has no such share, or as `selection.build_probe_set` does.
    """
    return probe_set_of(split.share(share, sources), name or share, source, licence, **options)


def probe_set_of(
    items: Sequence[Item], name: str, source: str = "", licence: str = "none stated", **options: Any
) -> ProbeSet:
    """Items of the split as a probe set, with their categories as labels."""
    entries = [ProbeEntry(item.id, item.image, item.caption, item.category) for item in items]
    return build_probe_set(name, entries, ProbeOptions(**options), source=source, licence=licence)
