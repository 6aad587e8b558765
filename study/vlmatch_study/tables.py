"""Tables of Markdown, and figures as they are printed there."""

from collections.abc import Sequence

from vlmatch.evidence.truth import Truth
from vlmatch.report.evidence import bare

OPEN = "The question stays open."
PRELIMINARY = "Preliminary, since trainings are missing."


def table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A table in Markdown; empty without rows."""
    if not rows:
        return ""
    return "\n".join([_row(head), _row(["---"] * len(head)), *map(_row, rows)])


def figure(value: float | None, low: float | None = None, high: float | None = None) -> str:
    """'.13 [.06, .29]'; '.13' if the interval is not known; '-' if the value is not known."""
    if value is None or low is None or high is None:
        return bare(value)
    return f"{bare(value)} [{bare(low)}, {bare(high)}]"


def seeds(truth: Truth) -> str:
    """The value of each seed: '.123, .120'."""
    return ", ".join(bare(value, 3) for value in truth.by_seed.values())


def within(value: float, error: float) -> str:
    """A figure of truths with its standard error: '.123 (.011)'."""
    return f"{bare(value, 3)} ({bare(error, 3)})"


def probability(p: float | None) -> str:
    """A p value with four decimals; '<.0001' if they would all be 0."""
    return "<.0001" if p is not None and p < 0.00005 else bare(p, 4)


def _row(cells: Sequence[str]) -> str:
    return f"| {' | '.join(cells)} |"
