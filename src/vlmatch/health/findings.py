"""A finding: what was measured on one side of a probe, whether it is a warning, and the remedy in words."""

from collections.abc import Iterable
from dataclasses import KW_ONLY, dataclass
from typing import Literal

from vlmatch.errors import enumerated

Side = Literal["images", "captions", "pairs"]

TITLES = {
    "collapsed": "Collapsed",
    "shared_direction": "One direction that all share",
    "same_ending": "Captions with the same ending",
    "copies": "Copies",
    "repeated_captions": "Repeated captions",
    "repeated_images": "Repeated images",
    "hubs": "Hubs",
    "constant_features": "Constant features",
    "more_features_than_pairs": "More features than pairs",
    "few_pairs": "Fewer pairs than neighbours",
    "partial_labels": "Labels for some pairs",
}
"""The title of each check: docs/health.md explains the check under this heading."""


@dataclass(frozen=True)
class Finding:
    """One thing to know before you trust a score.

    check: its name, a key of `TITLES`. side: where it was found. model: whose embeddings it is about; None if it is
    about the pairs. figure: what was measured, as a number; measured: the same in words. warning: whether scores are
    doubtful until the remedy was tried; otherwise it is a note. items: the first few pairs concerned, counted from 0.
    """

    check: str
    side: Side
    _: KW_ONLY
    model: str | None
    figure: float
    measured: str
    warning: bool
    remedy: str
    items: tuple[int, ...] = ()

    def __str__(self) -> str:
        subject = self.side if self.model is None else f"{self.side} by {self.model}"
        return f"{subject}: {self.measured}. {self.remedy}."


@dataclass(frozen=True)
class FindingGroup:
    """The findings of one check on one side that have the same remedy, which is then printed once for all models."""

    findings: tuple[Finding, ...]

    @property
    def title(self) -> str:
        """The title of the check."""
        return TITLES[self.findings[0].check]

    @property
    def warning(self) -> bool:
        """Whether the findings are warnings."""
        return self.findings[0].warning

    @property
    def side(self) -> Side:
        """Where they were found."""
        return self.findings[0].side

    @property
    def models(self) -> tuple[str, ...]:
        """The models concerned; none for findings on the pairs themselves."""
        return tuple(finding.model for finding in self.findings if finding.model is not None)

    @property
    def remedy(self) -> str:
        """What to do."""
        return self.findings[0].remedy

    def __str__(self) -> str:
        subject = f"{self.side} by {enumerated(self.models)}" if self.models else self.side
        measured = f": {self.findings[0].measured}" if len(self.findings) == 1 else ""
        return f"{self.title}: {subject}{measured}. {self.remedy}."


def grouped(findings: Iterable[Finding]) -> tuple[FindingGroup, ...]:
    """Group findings by check, side, warning and remedy, in the order of each group's first finding."""
    groups: dict[tuple[str, str, bool, str], list[Finding]] = {}
    for finding in findings:
        groups.setdefault((finding.check, finding.side, finding.warning, finding.remedy), []).append(finding)
    return tuple(FindingGroup(tuple(members)) for members in groups.values())
