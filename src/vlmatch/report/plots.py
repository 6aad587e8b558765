"""Plots of the report: scores as bars, scores against the truth, and the distances of the pick as heat maps."""

import io
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from matplotlib.figure import Figure
from matplotlib.layout_engine import ConstrainedLayoutEngine
from matplotlib.ticker import EngFormatter
from numpy.typing import NDArray
from scipy.cluster.hierarchy import leaves_list, linkage, optimal_leaf_ordering
from scipy.spatial.distance import squareform

from vlmatch.evidence.truth import Truth
from vlmatch.geometry import PairedGeometry
from vlmatch.ranking import LlmRanking
from vlmatch.report.evidence import SPOKEN_OF, ScoreEvidence, bare

PRETRAINED, PICKED, CONTROL = "#4c78a8", "#2a9d5c", "#bdbdbd"
TRAINED_HERE = "#e08a2e"
PANELS = 4  # in a row
Distances = NDArray[np.float64]


def score_bars(llm: LlmRanking, score: str) -> str:
    """One horizontal bar for each encoder, best on top, as an SVG; controls are hatched, the pick is green."""
    encoders = sorted(llm.encoders, key=lambda ranked: ranked.ranks[score], reverse=True)
    scored = encoders[0].row.scores[score]
    figure = Figure(figsize=(7.2, 0.32 * len(encoders) + 0.9), layout="constrained")
    axes = figure.subplots()
    values = [ranked.row.scores[score].value for ranked in encoders]
    for place, (ranked, value) in enumerate(zip(encoders, values, strict=True)):
        control = ranked.row.image.control
        picked = llm.pick == ranked.row.encoder
        colour = CONTROL if control else PICKED if picked else PRETRAINED
        axes.barh(place, value, color=colour, hatch="///" if control else None, edgecolor="white")
        if "lower_bound" in ranked.row.scores[score].details:
            axes.plot([float(ranked.row.scores[score].details["lower_bound"]), value], [place] * 2, "k|-", linewidth=1)
        axes.annotate(
            bare(value, 3), (value, place), xytext=(5, 0), textcoords="offset points", va="center", fontsize=8
        )
    axes.set_yticks(range(len(encoders)), [ranked.row.encoder for ranked in encoders], fontsize=8)
    axes.set_xlabel(f"{scored.title} ({'higher' if scored.higher_is_better else 'lower'} is better)", fontsize=9)
    axes.margins(x=0.12)
    axes.set_ylim(-0.6, len(encoders) - 0.4)
    axes.spines[["top", "right"]].set_visible(False)
    return svg(figure)


def heat_maps(pair: PairedGeometry, encoder: str, llm: str) -> bytes:
    """Both distance matrices as a PNG: the image distances scaled as in GW, and the caption distances.

    Rows of both are in the optimal leaf order of the captions' average-linkage tree: where the two geometries agree,
    the image side shows the same blocks.
    """
    text = pair.text.distances
    order = leaves_list(
        optimal_leaf_ordering(linkage(squareform(text, checks=False), "average"), squareform(text, checks=False))
    )
    sides = (
        (pair.scaled_image_distances, f"{encoder}: images, scaled by {pair.scale:.2f}"),
        (text, f"{llm}: captions"),
    )
    top = float(np.quantile(text, 0.999))
    figure = Figure(figsize=(10, 4.6), layout="constrained")
    panels = figure.subplots(1, 2)
    for axes, (distances, title) in zip(panels, sides, strict=True):
        shown = axes.imshow(
            distances[np.ix_(order, order)], cmap="magma", vmin=0, vmax=top, interpolation="antialiased"
        )
        axes.set_title(title, fontsize=10)
        axes.set_xticks([])
        axes.set_yticks([])
    figure.colorbar(shown, ax=panels, label="angle (radians)", shrink=0.85)
    return _drawn(lambda file: figure.savefig(file, format="png", dpi=110, metadata={"Software": None}))


def truth_panels(scores: Sequence[ScoreEvidence], blind: Truth | None) -> str:
    """The truth over each score, one panel for each, as an SVG; right is better in every panel.

    Bars are one standard error of the truth to each side. The encoder that the score ranks first is named, and a dashed
    line marks the blind model.
    """
    kinds: tuple[tuple[str, str, str, Callable[[Truth], bool]], ...] = (
        ("packaged", PRETRAINED, "o", lambda truth: truth.packaged),
        ("trained here", TRAINED_HERE, "s", lambda truth: truth.trained_here),
        ("control", "#8a94a3", "x", lambda truth: truth.control),
    )
    rows = -(-len(scores) // PANELS)
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
            axes.axhline(blind.mean, color="#8a94a3", linestyle="--", linewidth=0.8, label="blind model")
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
    return svg(figure)


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


def svg(figure: Figure, *, transparent: bool = False) -> str:
    """A figure as the text of an SVG element; equal figures give equal text. transparent: without a background."""
    drawn = _drawn(
        lambda file: figure.savefig(file, format="svg", metadata={"Date": None}, transparent=transparent)
    ).decode()
    return drawn[drawn.index("<svg") :]


def _drawn(save: Callable[[Any], None]) -> bytes:
    from matplotlib import rc_context

    file = io.BytesIO()
    with rc_context({"svg.fonttype": "none", "svg.hashsalt": "vlmatch", "font.family": "sans-serif"}):
        save(file)
    return file.getvalue()
