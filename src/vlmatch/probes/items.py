"""A split: captioned images, each of which belongs to one share, such as training data, benchmarks or probe."""

import hashlib
import json
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

from vlmatch.errors import VlmatchError

PROBE = "probe"


@dataclass(frozen=True)
class Item:
    """One image with its caption, and the share that it belongs to."""

    id: str
    image: Path
    caption: str
    concept: str
    source: str
    category: str | None
    share: str


@dataclass(frozen=True)
class Split:
    """All items, and the number of dropped images by source and reason.

    `largest` lists the largest groups that had to stay in one share: the number of images and one concept of each.
    `extends` is the fingerprint of a smaller split, all of whose items are in this one and in the same shares.
    """

    items: tuple[Item, ...]
    dropped: Mapping[str, Counter[str]] = field(default_factory=dict)
    largest: tuple[tuple[int, str], ...] = ()
    extends: str | None = None

    def share(self, name: str, sources: Sequence[str] | None = None) -> tuple[Item, ...]:
        """The items of one share, or of several ('vlm_a+vlm_b'), in the split's order. sources: None takes all of them.

        Raises VlmatchError if a share has none.
        """
        names = name.split("+")
        found = tuple(i for i in self.items if i.share in names and (sources is None or i.source in sources))
        for missing in [each for each in names if each not in {item.share for item in found}]:
            shares = sorted({f"{item.share} of {item.source}" for item in self.items})
            raise VlmatchError(
                f"split: share '{missing}' has no items of {sources or 'all sources'}; the shares are {shares}"
            )
        return found

    @cached_property
    def fingerprint(self) -> str:
        """SHA-256 over ids, captions, categories and shares, in order."""
        rows = [[item.id, item.caption, item.category, item.share] for item in self.items]
        return hashlib.sha256(json.dumps(rows, ensure_ascii=False).encode()).hexdigest()

    def counts(self) -> dict[tuple[str, str], tuple[int, int]]:
        """The numbers of items and of concepts by share and source, sorted."""
        found: dict[tuple[str, str], list[str]] = {}
        for item in self.items:
            found.setdefault((item.share, item.source), []).append(item.concept)
        return {key: (len(concepts), len(set(concepts))) for key, concepts in sorted(found.items())}

    def data_sheet(self) -> list[str]:
        """The contents of the shares, as lines of text for people."""
        lines = [f"split: {len(self.items):,} items", f"{'share':<18}{'source':<14}{'items':>7}{'concepts':>10}"]
        lines += [f"{share:<18}{name:<14}{n:>7}{c:>10}" for (share, name), (n, c) in self.counts().items()]
        for share, categories in sorted(self.categories().items()):
            lines.append(f"{share}: " + ", ".join(f"{name} {n}" for name, n in categories.most_common()))
        for source, reasons in self.dropped.items():
            lines.append(f"dropped of {source}: " + ", ".join(f"{why} {n}" for why, n in reasons.most_common()))
        lines.append("largest groups: " + ", ".join(f"{size} ({name})" for size, name in self.largest))
        return [*lines, f"fingerprint: {self.fingerprint}"]

    def categories(self) -> dict[str, Counter[str]]:
        """The number of items by share and category ('none': without one); the probe's share is left out."""
        found: dict[str, Counter[str]] = {}
        for item in self.items:
            if item.share != PROBE:
                found.setdefault(item.share, Counter())[item.category or "none"] += 1
        return found
