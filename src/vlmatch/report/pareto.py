"""The Pareto plot: each candidate's value by the rule over its price, with the Pareto front."""

import html
import re
from collections.abc import Mapping, Sequence
from itertools import chain, pairwise, product
from typing import Any

import numpy as np
from matplotlib import rc_context
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, LogLocator, MaxNLocator
from matplotlib.transforms import Bbox

from vlmatch.costs.candidate import CandidateCost
from vlmatch.costs.pareto import pareto_front, priced
from vlmatch.report.svg import svg
from vlmatch.settings.budget import short

WIDTH, HEIGHT = 400, 290  # pixels; letters of 11 pixels are readable where it is shown at this width
PRICES = {
    "params": ("parameters", 1.0),
    "flops": ("FLOPs for one image", 1e9),
    "tokens": ("tokens for one image", 1.0),
}
# Placeholders for colours that the page decides: its text colour, and CSS variables, which may differ in dark mode.
INK, SOFT, FRONT, PICK = "#010101", "#020202", "#030303", "#040404"
COLOURS = {
    INK: "currentColor",
    SOFT: "var(--soft, #7d8896)",
    FRONT: "var(--front, #4c78a8)",
    PICK: "var(--pick, #2a9d5c)",
}
STYLE: dict[Any, Any] = {
    "font.size": 11,
    **dict.fromkeys(["text.color", "axes.edgecolor", "axes.labelcolor", "xtick.color", "ytick.color"], INK),
}
FEW = 8  # up to this many candidates, all names have room
SPANS = 30  # the axis is logarithmic if the greatest price is more than this many times the smallest
SIDES = ((1, 1), (-1, 1), (1, -1), (-1, -1), (0, 1), (0, -1))  # where a name may stand: (right, up) of its point
ALIGNED = {1: "left", -1: "right", 0: "center"}
Place = tuple[float, float]


def pareto_plot(
    values: Mapping[str, float],
    costs: Mapping[str, CandidateCost],
    price: str = "flops",
    *,
    picked: str | None = None,
    measure: str = "value by the rule",
) -> str:
    """The candidates as points, the Pareto front as steps, as an SVG for a page of any width from 400 pixels on.

    values: more is better. price: 'flops', 'params' or 'tokens'; the axis label says for how many candidates it is not
    known. picked: the candidate that is drawn in green. measure: the name of the vertical axis. If there are many
    candidates, only the front and the pick are named; every point shows its name under the pointer.
    Raises VlmatchError on an unknown price.
    """
    points = priced(values, costs, [price])
    front = sorted(pareto_front(points), key=lambda name: points[name][1])
    what, unit = PRICES[price]
    places = {name: (figure * unit, value) for name, (value, figure) in points.items()}
    with rc_context(STYLE):
        figure = Figure(figsize=(WIDTH / 72, HEIGHT / 72), layout="constrained")
        axes = figure.subplots()
        _axes(axes, [x for x, _ in places.values()])
        axes.set_xlabel(what + _left_out(len(values) - len(places)))
        axes.set_ylabel(f"{measure} \N{RIGHTWARDS ARROW}")
        corners = _corners([places[name] for name in front])
        axes.plot([x for x, _ in corners], [y for _, y in corners], color=FRONT, linewidth=1.2)
        for name, place in places.items():
            colour = PICK if name == picked else FRONT if name in front else SOFT
            axes.plot(*place, "o", color=colour, markersize=6 if colour != SOFT else 4, gid=f"point {name}", zorder=3)
        others = places if len(places) <= FEW else [name for name in places if name == picked]
        named = dict.fromkeys([*front, *others])
        colours = {name: PICK if name == picked else INK if name in front else SOFT for name in named}
        _write_names(figure, axes, places, colours, corners)
        drawn = svg(figure, transparent=True)
    return _themed(_with_tooltips(drawn, places))


def _axes(axes: Any, prices: Sequence[float]) -> None:
    if prices and min(prices) > 0 and max(prices) > SPANS * min(prices):
        axes.set_xscale("log")
        axes.xaxis.set_major_locator(LogLocator(numticks=6))
        axes.xaxis.set_minor_formatter(FuncFormatter(lambda x, _: ""))
    else:
        axes.xaxis.set_major_locator(MaxNLocator(5))
    axes.xaxis.set_major_formatter(FuncFormatter(lambda x, _: short(x) if x > 0 else "0"))
    axes.margins(x=0.12, y=0.14)
    axes.spines[["top", "right"]].set_visible(False)


def _left_out(n: int) -> str:
    return f" (not known for {n})" if n else ""


def _corners(front: Sequence[Place]) -> list[Place]:
    """The corners of the steps that lead from one point of the front to the next, at the value already reached."""
    turns = [[(x, y), (after, y)] for (x, y), (after, _) in pairwise(front)]
    return [*chain.from_iterable(turns), *front[-1:]]


def _write_names(
    figure: Figure, axes: Any, places: Mapping[str, Place], colours: Mapping[str, str], corners: Sequence[Place]
) -> None:
    """Write names beside their points, each where it covers the fewest names, points and lines."""
    figure.draw_without_rendering()  # settles the layout, so that places on the page are known
    points = [axes.transData.transform(place) for place in places.values()]
    lines = pairwise(axes.transData.transform(corner) for corner in corners)
    taken = [Bbox([point - 4, point + 4]) for point in points]
    taken += [Bbox([np.minimum(start, end), np.maximum(start, end) + 1]) for start, end in lines]
    room = Bbox.from_extents(axes.bbox.x0, axes.bbox.y0, figure.bbox.x1, figure.bbox.y1)
    for name, colour in colours.items():
        tried: list[tuple[int, int, Any, Bbox]] = []
        for distance, side in product((5, 12, 20), SIDES):
            label = _label(axes, name, places[name], distance, side, colour)
            box = label.get_window_extent()
            label.remove()
            outside = not (room.contains(box.x0, box.y0) and room.contains(box.x1, box.y1))
            tried.append((box.count_overlaps(taken) + len(taken) * outside, len(tried), label, box))
        *_, label, box = min(tried, key=lambda each: each[:2])
        axes.add_artist(label)
        taken.append(box)


def _label(axes: Any, name: str, place: Place, distance: int, side: tuple[int, int], colour: str) -> Any:
    right, up = side
    label = axes.annotate(
        name, place, xytext=(distance * right, distance * up), textcoords="offset points", color=colour,
        ha=ALIGNED[right], va="bottom" if up > 0 else "top", annotation_clip=False,
    )  # fmt: skip
    label.set_in_layout(False)
    return label


def _with_tooltips(drawn: str, places: Mapping[str, Place]) -> str:
    """Each point's name and figures as its title, which a page shows under the pointer."""

    def titled(found: re.Match[str]) -> str:
        name = html.unescape(found[1])
        x, value = places[name]
        return f"<g><title>{html.escape(name)}: {value:.2f}, {short(x)}</title>"

    return re.sub(r'<g id="point ([^"]+)">', titled, drawn)


def _themed(drawn: str) -> str:
    """Take the colours from the page, and make the drawing as wide as there is room."""
    for placeholder, colour in COLOURS.items():
        drawn = drawn.replace(placeholder, colour)
    size = 'style="width: 100%; max-width: 40rem; height: auto"'
    return re.sub(r'(<svg [^>]*?)width="[^"]*" height="[^"]*"', rf"\1{size}", drawn, count=1)
