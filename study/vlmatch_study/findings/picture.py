"""The picture of docs/findings.md: block 1's truths by variant, and block 3's truths beside the rule's score."""

from collections.abc import Sequence
from pathlib import Path

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from vlmatch.evidence.truths import Comparison
from vlmatch_study.findings.confound import VARIANTS
from vlmatch_study.findings.scored import Row

COLOURS = ("#4c78a8", "#2a9d5c", "#e08a2e", "#9467bd")
LATER, WARNED = "#4c78a8", "#b04a5a"


def draw(confound: Comparison | None, encoders: Sequence[str], new: Comparison | None, rows: Sequence[Row]) -> Figure:
    """Two panels. confound, encoders: block 1 and its encoders as they are. new, rows: block 3 and its scores."""
    figure = Figure(figsize=(11, 4.4), layout="constrained")
    left, right = figure.subplots(1, 2, width_ratios=(1, 1.25))
    if confound is not None:
        _variants(left, confound, encoders)
    if new is not None:
        _beside_score(right, new, rows)
    for axes in (left, right):
        axes.spines[["top", "right"]].set_visible(False)
    return figure


def save(figure: Figure, path: Path) -> None:
    """Write the picture: equal figures give equal bytes."""
    figure.savefig(path, dpi=130, metadata={"Software": None})


def _variants(axes: Axes, comparison: Comparison, encoders: Sequence[str]) -> None:
    truths = comparison.by_encoder
    for colour, name in zip(COLOURS, encoders, strict=False):
        known = [(at, truths[name + ending]) for at, ending in enumerate(VARIANTS.values()) if name + ending in truths]
        axes.errorbar(
            [at for at, _ in known],
            [truth.mean for _, truth in known],
            [truth.standard_error for _, truth in known],
            color=colour,
            marker="o",
            markersize=4,
            linewidth=1.3,
            capsize=2,
            label=name,
        )
    axes.set_xticks(range(len(VARIANTS)), list(VARIANTS))
    axes.set_ylabel("truth")
    axes.set_title("Block 1: the same encoders with changed features", fontsize=10, loc="left")
    axes.legend(fontsize=8, frameon=False)


def _beside_score(axes: Axes, comparison: Comparison, rows: Sequence[Row]) -> None:
    known = [(row, truth) for row in rows if (truth := comparison.by_encoder.get(row["encoder"])) is not None]
    points = [(float(row["mutual_nn"]), truth.mean) for row, truth in known]
    for (row, truth), point in zip(known, points, strict=True):
        colour = WARNED if row["control"] == "1" else LATER
        axes.errorbar(*point, truth.standard_error, color=colour, marker="o", markersize=4, capsize=2)
        nearest = min(
            (each for each in points if each != point), key=lambda each: abs(each[1] - point[1]), default=point
        )
        left = point[0] < nearest[0]  # so that the names of two encoders with about the same truth do not overlap
        axes.annotate(
            row["encoder"],
            point,
            (-6 if left else 6, 0),
            textcoords="offset points",
            fontsize=7,
            ha="right" if left else "left",
            va="center",
        )
    axes.set_xlabel("MutualNN, known before the trainings (red: a health check warned)")
    axes.set_ylabel("truth")
    axes.margins(x=0.45)
    axes.set_title("Block 3: new encoders", fontsize=10, loc="left")
