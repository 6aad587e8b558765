"""Plots of the report: scores as bars, and the two geometries of a pick as heat maps in one common order."""

import io
from collections.abc import Callable
from typing import Any

import numpy as np
from matplotlib.figure import Figure
from numpy.typing import NDArray
from scipy.cluster.hierarchy import leaves_list, linkage, optimal_leaf_ordering
from scipy.spatial.distance import squareform

from vlmatch.geometry import PairedGeometry
from vlmatch.report.ranking import LlmRanking

PRETRAINED, PICKED, CONTROL = "#4c78a8", "#2a9d5c", "#bdbdbd"
Distances = NDArray[np.float64]


def score_bars(llm: LlmRanking, score: str) -> str:
    """One horizontal bar an encoder, best on top, as an SVG; controls are hatched, the pick is green."""
    standings = sorted(llm.standings, key=lambda standing: standing.ranks[score], reverse=True)
    scored = standings[0].row.scores[score]
    figure = Figure(figsize=(7.2, 0.32 * len(standings) + 0.9), layout="constrained")
    axes = figure.subplots()
    values = [standing.row.scores[score].value for standing in standings]
    for place, (standing, value) in enumerate(zip(standings, values, strict=True)):
        control = standing.row.image.control
        picked = llm.pick is not None and llm.pick.encoder == standing.row.encoder
        colour = CONTROL if control else PICKED if picked else PRETRAINED
        axes.barh(place, value, color=colour, hatch="///" if control else None, edgecolor="white")
        if "lower_bound" in standing.row.scores[score].details:
            axes.plot(
                [float(standing.row.scores[score].details["lower_bound"]), value], [place] * 2, "k|-", linewidth=1
            )
        axes.text(value, place, f" {value:.3f}", va="center", fontsize=8)
    axes.set_yticks(range(len(standings)), [standing.row.encoder for standing in standings], fontsize=8)
    axes.set_xlabel(f"{scored.title} ({'higher' if scored.higher_is_better else 'lower'} is better)", fontsize=9)
    axes.margins(x=0.12)
    axes.spines[["top", "right"]].set_visible(False)
    return _svg(figure)


def heat_maps(pair: PairedGeometry, encoder: str, llm: str) -> bytes:
    """Both distance matrices as a PNG, the image side scaled as the score scales it, rows ordered by the captions.

    The order is the optimal leaf order of the captions' average-linkage tree: where the two geometries agree,
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


def _svg(figure: Figure) -> str:
    drawn = _drawn(lambda file: figure.savefig(file, format="svg", metadata={"Date": None})).decode()
    return drawn[drawn.index("<svg") :]


def _drawn(save: Callable[[Any], None]) -> bytes:
    from matplotlib import rc_context

    file = io.BytesIO()
    with rc_context({"svg.fonttype": "none", "svg.hashsalt": "vlmatch", "font.family": "sans-serif"}):
        save(file)
    return file.getvalue()
