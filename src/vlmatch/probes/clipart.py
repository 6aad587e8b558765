"""A second probe: clip-art that neither the VLM data nor the benchmarks nor the encoders' training have seen."""

from typing import Any

from vlmatch.probes.pairs import Entry, ProbeSet
from vlmatch.probes.selection import Options, build
from vlmatch.probes.split import Split


def clipart(split: Split, share: str, name: str = "clipart", **options: Any) -> ProbeSet:
    """The clip-art of one share of the split, with its category as label; `options` are those of `selection.Options`.

    Raises VlmatchError where the split has no such share, or as `selection.build` does.
    """
    items = split.share(share, sources=("clipart",))
    entries = [Entry(item.id, item.image, item.caption, item.category) for item in items]
    return build(name, entries, Options(**options), source="Debian openclipart-png 0.18", licence="public domain")
