"""The page's drawing of how often lists held the best encoder: the coverage with its interval, on one line."""

from markupsafe import Markup

from vlmatch.evidence.shortlists import COVERAGE, Calibration
from vlmatch.report.words import percent

LEAST, WIDTH = 0.5, 300  # the usual left end of the drawing; pixels


def coverage_strip(found: Calibration) -> Markup:
    """The coverage for new families, the plain list's, and the 90% aimed at, on an axis from 50% or 0 to 100%."""
    share = found.coverage_for_new
    at = share.value or 0.0
    low, high = (at if end is None else end for end in (share.low, share.high))
    least = LEAST if min(low, found.top_k) >= LEAST else 0.0

    def across(share: float) -> float:
        return WIDTH * (min(1.0, share) - least) / (1 - least)

    ticks = "".join(
        f'<text x="{across(share):.0f}" y="29" text-anchor="{anchor}">{percent(share)}</text>'
        for share, anchor in ((least, "start"), (COVERAGE, "middle"), (1.0, "end"))
    )
    return Markup(
        f'<svg class="held" viewBox="0 0 {WIDTH} 32" aria-hidden="true">'
        f'<line class="track" x1="0" y1="9" x2="{WIDTH}" y2="9"/>'
        f'<line class="aim" x1="{across(COVERAGE):.1f}" y1="2" x2="{across(COVERAGE):.1f}" y2="16"/>'
        f'<line class="reach" x1="{across(low):.1f}" y1="9" x2="{across(high):.1f}" y2="9"/>'
        f'<line class="plain" x1="{across(found.top_k):.1f}" y1="3" x2="{across(found.top_k):.1f}" y2="15"/>'
        f'<circle class="dot" cx="{across(at):.1f}" cy="9" r="5"/>{ticks}</svg>'
    )
