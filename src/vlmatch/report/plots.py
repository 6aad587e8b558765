"""Plots of the page: scores against the truth, and the distances of the pick as heat maps."""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from markupsafe import Markup
from matplotlib import colormaps
from matplotlib.figure import Figure
from matplotlib.layout_engine import ConstrainedLayoutEngine
from matplotlib.ticker import EngFormatter
from numpy.typing import NDArray
from PIL import Image
from scipy.cluster.hierarchy import leaves_list, linkage, optimal_leaf_ordering
from scipy.spatial.distance import squareform

from vlmatch.evidence.truth import Truth
from vlmatch.geometry import PairedGeometry
from vlmatch.report.evidence import SPOKEN_OF, ScoreEvidence, bare
from vlmatch.report.gallery import thumbnail
from vlmatch.report.svg import drawn

PRETRAINED, CONTROL, TRAINED_HERE = "#4c78a8", "#8a94a3", "#e08a2e"
PANELS = 4  # in a row
MAP_SIDE = 420  # pixels of a heat map
MAPPED = 1000  # pairs in a heat map at most: the time to order them grows faster than the square of their number
Distances = NDArray[np.float64]


def heat_maps(pair: PairedGeometry) -> tuple[str, str]:
    """Both distance matrices as data URIs of WebP pictures: the image distances scaled as in GW, and the captions'.

    Both share one colour scale. The rows of both are in the optimal leaf order of the captions' average-linkage tree:
    where the two geometries agree, the image side shows the same blocks. If there are more than `MAPPED` pairs, a
    random part is shown, the same every time.
    """
    rows = np.random.default_rng(0).permutation(len(pair))[:MAPPED]
    rows.sort()
    text = pair.text.distances[np.ix_(rows, rows)]
    flat = squareform(text, checks=False)
    order = rows[leaves_list(optimal_leaf_ordering(linkage(flat, "average"), flat))]
    top = float(np.quantile(text, 0.999)) or 1.0
    images, captions = (
        _picture(distances[np.ix_(order, order)] / top)
        for distances in (pair.scaled_image_distances, pair.text.distances)
    )
    return images, captions


def _picture(values: Distances) -> str:
    """Values from 0 to 1 as colours, in a data URI."""
    coloured = Image.fromarray(colormaps["magma"](np.clip(values, 0, 1), bytes=True)[..., :3])
    return thumbnail(coloured, MAP_SIDE)[0]


def truth_panels(scores: Sequence[ScoreEvidence], blind: Truth | None, prefix: str) -> Markup:
    """The truth over each score, one panel for each, as an SVG; right is better in every panel.

    Bars are one standard error of the truth to each side. The encoder that the score ranks first is named, and a dashed
    line marks the blind model. prefix: of the identifiers in the drawing.
    """
    kinds: tuple[tuple[str, str, str, Callable[[Truth], bool]], ...] = (
        ("packaged", PRETRAINED, "o", lambda truth: truth.packaged),
        ("trained here", TRAINED_HERE, "s", lambda truth: truth.trained_here),
        ("control", CONTROL, "x", lambda truth: truth.control),
    )
    rows = max(1, -(-len(scores) // PANELS))
    figure = Figure(figsize=(14, 3.4 * rows + 0.4), layout=ConstrainedLayoutEngine(hspace=0.06))
    panels = figure.subplots(rows, PANELS, sharey=True, squeeze=False).ravel()
    for axes, score in zip(panels, scores, strict=False):
        for label, colour, marker, member in kinds:
            points = [point for point in score.points if member(point.truth)]
            axes.errorbar(
                [point.score for point in points],
                [point.truth.mean for point in points],
                [point.truth.standard_error for point in points],
                fmt=marker, color=colour, label=label, markersize=5, elinewidth=0.8, alpha=0.85,
            )  # fmt: skip
        if blind is not None:
            axes.axhline(blind.mean, color=CONTROL, linestyle="--", linewidth=0.8, label="blind model")
        _name_first(axes, score)
        correlation = score.correlations[SPOKEN_OF]
        axes.set_title(f"{score.title}: Spearman {bare(correlation.spearman)}", fontsize=10, loc="left")
        axes.tick_params(labelsize=8)
        axes.spines[["top", "right"]].set_visible(False)
    for axes in panels[len(scores) :]:
        axes.set_visible(False)
    for axes in panels[::PANELS]:
        axes.set_ylabel("truth", fontsize=9)
    figure.legend(*panels[0].get_legend_handles_labels(), loc="outside upper right", ncols=4, fontsize=9, frameon=False)
    return drawn(figure, prefix, "the truth of each encoder over each score, one panel a score")


def _name_first(axes: Any, score: ScoreEvidence) -> None:
    """Name the encoder that the score ranks first, and reverse the axis of a score that is better when lower."""
    axes.margins(x=0.08, y=0.12)
    if not score.points:
        return
    first = (max if score.higher_is_better else min)(score.points, key=lambda point: point.score)
    if not score.higher_is_better:
        axes.invert_xaxis()
    axes.annotate(
        first.truth.encoder, (first.score, first.truth.mean), xytext=(0, 7), textcoords="offset points",
        ha="right", fontsize=7.5, zorder=1,
    )  # fmt: skip
    if max(abs(point.score) for point in score.points) >= 1e4:
        axes.xaxis.set_major_formatter(EngFormatter(sep=""))
    axes.set_xlabel(f"{score.title} ({'higher' if score.higher_is_better else 'lower'} is better)", fontsize=8)
