"""The scores of one encoder and one LLM over layers, poolings and centring: ranges, a table of cells, heat maps."""

import csv
from pathlib import Path
from typing import Any

import numpy as np
from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup
from matplotlib.figure import Figure
from rich.box import SIMPLE_HEAD
from rich.table import Table
from rich.text import Text

from vlmatch.files import renamed, write_text
from vlmatch.report.svg import svg
from vlmatch.report.table import number
from vlmatch.scores.layer_map import Cell, LayerMap

COLUMNS = (
    *("encoder", "llm", "probe", "score", "encoder_layer", "encoder_pooling", "llm_layer", "llm_pooling"),
    *("centring", "value", "reason"),
)
WRITTEN = 150  # up to this many cells, each shows its number


def range_table(found: LayerMap) -> Table:
    """The lowest and highest value of each score and where they are, beside the value that a ranking shows."""
    table = Table(
        title=f"{found.encoder} x {found.llm} on {found.probe}, {found.n_pairs} pairs",
        title_justify="left",
        title_style="bold",
        box=SIMPLE_HEAD,
        pad_edge=False,
        caption="usual: the value that a ranking shows. A place names layer and pooling of both sides. GW has the unit "
        "of the captions' distances; GW rel. has no unit, so only GW rel. can be compared across layers of the LLM.",
        caption_justify="left",
    )
    for head in ("score", "usual", "lowest", "highest"):
        table.add_column(head, justify="left" if head == "score" else "right", no_wrap=True)
    for head in ("lowest at", "highest at"):
        table.add_column(head)
    for title, *cells in ranges(found):
        table.add_row(*map(Text, (title, *cells)))
    return table


def ranges(found: LayerMap) -> list[tuple[str, str, str, str, str, str]]:
    """By score: title, the usual value, lowest, highest, and the places of both."""
    rows = []
    for name, title in found.titles.items():
        cells = found.of(name)
        usual = next((number(cell.value) for cell in cells if cell.chosen), "-")
        if cells:
            low, high = cells[0], cells[-1]
            rows.append((title, usual, number(low.value), number(high.value), low.place, high.place))
        else:
            rows.append((title, usual, "-", "-", "not defined anywhere", ""))
    return rows


def write_table(path: Path, found: LayerMap) -> Path:
    """Write one row for each cell and score as CSV; equal maps give equal bytes."""
    with renamed(path) as temporary, temporary.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(COLUMNS)
        for cell in found.cells:
            image, text = ((each.layer, each.pooling) for each in (cell.image, cell.text))
            about = (found.encoder, found.llm, found.probe, cell.score)
            writer.writerow((*about, *image, *text, cell.centring, cell.value, cell.reason))
    return path


def write_page(path: Path, found: LayerMap) -> Path:
    """Write the ranges and a heat map of each score as one self-contained HTML page."""
    environment = Environment(
        loader=PackageLoader("vlmatch.report", "."),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    maps = [Markup(heat_map(found, name)) for name in found.titles if found.of(name)]  # noqa: S704 - our own SVG
    undefined = sorted({cell.reason for cell in found.cells if cell.value is None})
    page = environment.get_template("layers.html.j2").render(
        found=found, ranges=ranges(found), maps=maps, undefined=undefined
    )
    write_text(path, page)
    return path


def heat_map(found: LayerMap, score: str) -> str:
    """One score as an SVG: a panel for each centring, with choices for images as rows and for captions as columns.

    The usual cell has a frame. A cell where the score is not defined is empty.
    """
    cells = [cell for cell in found.cells if cell.score == score]
    images = list(dict.fromkeys(cell.image.label for cell in cells))
    captions = list(dict.fromkeys(cell.text.label for cell in cells))
    centring = list(dict.fromkeys(cell.centring for cell in cells))
    values = {(cell.centring, cell.image.label, cell.text.label): cell for cell in cells}
    low, high = (found.of(score)[place].value for place in (0, -1))
    figure = Figure(
        figsize=(1.6 + 0.42 * len(captions), (0.9 + 0.3 * len(images)) * len(centring) + 1.3), layout="constrained"
    )
    panels = figure.subplots(len(centring), 1, squeeze=False, sharex=True)[:, 0]
    for axes, word in zip(panels, centring, strict=True):
        grid = [[values[word, image, text] for text in captions] for image in images]
        numbers = np.array([[np.nan if cell.value is None else cell.value for cell in row] for row in grid])
        many = numbers.size > WRITTEN
        lines = {"rasterized": True} if many else {"edgecolors": "white", "linewidth": 0.4}
        shown = axes.pcolormesh(numbers, cmap="viridis", vmin=low, vmax=high, **lines)
        axes.set_xticks(np.arange(len(captions)) + 0.5, captions, rotation=90, fontsize=7)
        axes.set_yticks(np.arange(len(images)) + 0.5, images, fontsize=7)
        axes.invert_yaxis()
        axes.set_title(f"centring {word}", fontsize=9, loc="left")
        for row, line in enumerate(grid):
            for column, cell in enumerate(line):
                _write_in(axes, cell, row, column, len(images) * len(captions), (low or 0) + (high or 0))
    panels[-1].set_xlabel(f"captions: layer and pooling of {found.llm}", fontsize=8)
    figure.supylabel(f"images: layer and pooling of {found.encoder}", fontsize=8)
    figure.suptitle(found.titles[score], fontsize=11, x=0.01, ha="left")
    figure.colorbar(shown, ax=list(panels), shrink=0.7).ax.tick_params(labelsize=7)
    return svg(figure)


def _write_in(axes: Any, cell: Cell, row: int, column: int, n: int, both_ends: float) -> None:
    """Write the number of a cell, and draw a frame around the usual cell."""
    from matplotlib.patches import Rectangle

    if cell.chosen:
        axes.add_patch(Rectangle((column, row), 1, 1, fill=False, edgecolor="#d62728", linewidth=1.8))
    if cell.value is not None and n <= WRITTEN:
        colour = "black" if cell.value > both_ends / 2 else "white"
        place = column + 0.5, row + 0.5
        axes.text(*place, number(cell.value)[:4], ha="center", va="center", fontsize=5.5, color=colour)
