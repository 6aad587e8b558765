"""Drawings for the page: SVG inside HTML, whose text and colours follow the page's theme."""

import io
import re
from typing import Any

from markupsafe import Markup, escape
from matplotlib.figure import Figure

THEMED = {
    "#000000": "currentColor",
    "#ffffff": "var(--page)",
    "#4c78a8": "var(--series)",
    "#2a9d5c": "var(--picked)",
    "#bdbdbd": "var(--control)",
    "#8a94a3": "var(--control)",
    "#e08a2e": "var(--trained)",
}
"""Colours of the plots, and what replaces them in the page, which has a light and a dark value for each."""

_COLOURED = re.compile(r"\b(fill|stroke)(: ?|=\")(#[0-9a-f]{6})\b", re.IGNORECASE)
_NUMBERED = re.compile(
    r' id="(?:[a-z.]+|[A-Za-z]*Collection)_\d+"'
)  # matplotlib's names of parts; nothing refers to them
_IDENTIFIER = re.compile(r'(\bid="|href="#|url\(#)')
_FONT = re.compile(r"font: (?:[\w-]+ )*?(\d+(?:\.\d+)?px) [^;\"]*")
_NOT_SHOWN = re.compile(r"<metadata>.*?</metadata>|<style .*?</style>", re.DOTALL)
_SIZE = re.compile(r' width="[^"]*" height="[^"]*"', re.IGNORECASE)


def drawn(figure: Figure, prefix: str, label: str) -> Markup:
    """The figure as an SVG element without background, in the colours of the page's theme; as `themed`."""
    return themed(svg(figure, transparent=True), prefix, label)


def svg(figure: Figure, **options: Any) -> str:
    """The figure as an SVG element; equal figures give equal text. options: of `Figure.savefig`."""
    from matplotlib import rc_context

    file = io.StringIO()
    with rc_context({"svg.fonttype": "none", "svg.hashsalt": "vlmatch", "font.family": "sans-serif"}):
        figure.savefig(file, format="svg", metadata={"Date": None, "Creator": None}, **options)
    element = file.getvalue()
    return element[element.index("<svg") :]


def themed(element: str, prefix: str, label: str) -> Markup:
    """Fit an SVG element of matplotlib into a page: as wide as its place, and in the colours of the page's theme.

    Colours that are not in `THEMED` stay. Text takes the font of the page. prefix: put before each identifier, because
    identifiers must be unique in a page. label: what the drawing shows, for screen readers.
    """
    head, _, inside = _NOT_SHOWN.sub("", element).partition(">")
    inside = _NUMBERED.sub("", inside)
    inside = _COLOURED.sub(lambda found: found[1] + found[2] + THEMED.get(found[3].lower(), found[3]), inside)
    inside = _IDENTIFIER.sub(rf"\g<1>{prefix}-", _FONT.sub(r"font-size: \1", inside))
    head = f'{_SIZE.sub("", head)} role="img" aria-label="{escape(label)}"'
    return Markup(re.sub(r"\s*\n\s*", " ", f"{head}>{inside}").strip())
