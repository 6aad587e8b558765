"""The picture of docs/findings.md: truths by variant and by tokens (blocks 1 and 2), and beside MutualNN (block 3)."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patheffects import withStroke
from scipy.optimize import isotonic_regression

from vlmatch.evidence.truth import Truth
from vlmatch.evidence.truths import Comparison
from vlmatch_study.findings import tokens
from vlmatch_study.findings.confound import VARIANTS
from vlmatch_study.rows import Row

COLOURS = {
    "efficientnet_lite0": "#2a9d5c",
    "efficientnet_lite1": "#4c78a8",
    "open_nsfw": "#e08a2e",
    "craft_vgg16_bn": "#9467bd",
    "mobilenetv2": "#c0504d",
    "nudenet_yolov8n": "#7f7f7f",
}
"""An encoder has one colour in both panels with lines."""

USUAL, WARNED = "#4c78a8", "#b04a5a"
DPI = 130
BESIDE, APART = 6, 9  # points from a dot to its name, and at least between two names


def draw(
    confound: Comparison | None,
    encoders: Sequence[str],
    by_tokens: Comparison | None,
    new: Comparison | None,
    rows: Sequence[Row],
) -> Figure:
    """Blocks 1 and 2 side by side, block 3 below them; a panel without trainings stays empty.

    confound, encoders: block 1 and its encoders as they are. by_tokens: block 2. new, rows: block 3 and its scores.
    """
    figure = Figure(figsize=(11, 8.4), dpi=DPI, layout="constrained")
    panels = figure.subplot_mosaic([["variants", "tokens"], ["new", "new"]], height_ratios=(1, 1.15))
    for axes in panels.values():
        axes.spines[["top", "right"]].set_visible(False)
        axes.set_ylabel("truth")
    _variants(panels["variants"], confound, encoders)
    _tokens(panels["tokens"], by_tokens)
    _beside_score(figure, panels["new"], new, rows)
    return figure


def save(figure: Figure, path: Path) -> None:
    """Write the picture: equal figures give equal bytes."""
    figure.savefig(path, dpi=DPI, metadata={"Software": None})


def _variants(axes: Axes, comparison: Comparison | None, encoders: Sequence[str]) -> None:
    truths = {} if comparison is None else comparison.by_encoder
    lines = {
        name: {at: truths[name + end] for at, end in enumerate(VARIANTS.values()) if name + end in truths}
        for name in encoders
    }
    _lines(axes, lines)
    axes.set_xticks(range(len(VARIANTS)), list(VARIANTS))
    axes.set_title("Block 1: the same encoders with changed features", fontsize=10, loc="left")


def _tokens(axes: Axes, comparison: Comparison | None) -> None:
    lines: dict[str, dict[int, Truth]] = {}
    for truth in () if comparison is None else comparison.truths:
        name, number = tokens.split(truth.encoder)
        lines.setdefault(name, {})[number] = truth
    _lines(axes, {name: dict(sorted(each.items())) for name, each in lines.items()})
    axes.set_xscale("log", base=2)
    numbers = sorted({number for each in lines.values() for number in each})
    axes.set_xticks(numbers, [str(number) for number in numbers])
    axes.set_xlabel("visual tokens")
    axes.set_ylim(bottom=0)
    axes.set_title("Block 2: the same encoders with more tokens", fontsize=10, loc="left")


def _lines(axes: Axes, lines: Mapping[str, Mapping[int, Truth]]) -> None:
    """A line for each encoder: the mean truth over seeds with its standard error, by place on the x axis."""
    for name, truths in lines.items():
        axes.errorbar(
            list(truths),
            [truth.mean for truth in truths.values()],
            [truth.standard_error for truth in truths.values()],
            color=COLOURS[name],
            marker="o",
            markersize=4,
            linewidth=1.3,
            capsize=2,
            label=name,
        )
    if lines:
        axes.legend(fontsize=8, frameon=False)


def _beside_score(figure: Figure, axes: Axes, comparison: Comparison | None, rows: Sequence[Row]) -> None:
    truths = {} if comparison is None else comparison.by_encoder
    known = [(row, truth) for row in rows if (truth := truths.get(row["encoder"])) is not None]
    points = {row["encoder"]: (float(row["mutual_nn"]), truth.mean) for row, truth in known}
    for row, truth in known:
        colour = WARNED if row["control"] == "1" else USUAL
        axes.errorbar(*points[row["encoder"]], truth.standard_error, color=colour, marker="o", markersize=4, capsize=2)
    axes.set_xlabel("MutualNN, computed before the trainings (red: a health check warned)")
    axes.margins(x=0.2)
    axes.set_title("Block 3: new encoders", fontsize=10, loc="left")
    _name(figure, axes, points)


def _name(figure: Figure, axes: Axes, points: Mapping[str, tuple[float, float]]) -> None:
    """Write the name of each point beside it: on the left if its nearest one by truth lies right, else on the right."""
    figure.draw_without_rendering()  # lays the panels out, so that places on the page are known
    places = {name: axes.transData.transform(point) * 72 / DPI for name, point in points.items()}
    left = []
    for name, (across, up) in places.items():
        others = [place for other, place in places.items() if other != name]
        if others and across < min(others, key=lambda place: abs(place[1] - up))[0]:
            left.append(name)
    for side in (left, [name for name in places if name not in left]):
        heights = spread([float(places[name][1]) for name in side], APART)
        for name, height in zip(side, heights, strict=True):
            axes.annotate(
                name,
                points[name],
                (-BESIDE if side is left else BESIDE, height - float(places[name][1])),
                textcoords="offset points",
                fontsize=7,
                ha="right" if side is left else "left",
                va="center",
                path_effects=[withStroke(linewidth=2, foreground="white")],
            )


def spread(heights: Sequence[float], gap: float) -> list[float]:
    """The nearest heights, by least squares, that lie at least `gap` apart in the same order."""
    order = np.argsort(heights, kind="stable")
    steps = gap * np.arange(len(order))
    spaced = np.empty(len(order))
    spaced[order] = isotonic_regression(np.asarray(heights, dtype=float)[order] - steps).x + steps
    return [float(height) for height in spaced]
