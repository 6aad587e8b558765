"""The picture and the table of docs/search.md, made of the committed table of replayed searches."""

from collections.abc import Sequence
from pathlib import Path

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from vlmatch.evidence.correlation import spearman
from vlmatch.report.evidence import bare
from vlmatch_study.rows import Row
from vlmatch_study.search.replay import Courses
from vlmatch_study.search.spending import (
    CLUSTERS,
    GRID,
    HALVED,
    ONCE,
    RANDOM,
    SCREENED,
    SCREENED_HALVED,
    SEARCH,
    SHEET,
)  # fmt: skip
from vlmatch_study.tables import table

SIZE = "8"
TITLES = {
    "embedded": "our 32 encoders, two trainings each",
    "vtbenchlab": "VTBenchLab's 79, one training each: screening alone",
}
LINES = {
    RANDOM: ("#8a94a3", "o"), SHEET: ("#e08a2e", "s"), SCREENED: ("#4c78a8", "o"), HALVED: ("#9467bd", "v"),
    SCREENED_HALVED: ("#c9a227", "D"), CLUSTERS: ("#b04a5a", "^"), SEARCH: ("#2a9d5c", "*"),
}  # fmt: skip
"""Colour and marker of each way."""


def draw(rows: Sequence[Row], path: Path) -> None:
    """Draw what each way loses over what it costs, in pools of 8 of any candidates, one panel for each world."""
    figure = Figure(figsize=(11, 4.6), layout="constrained")
    for axes, (world, title) in zip(figure.subplots(1, len(TITLES), sharey=True), TITLES.items(), strict=True):
        _panel(
            axes, [row for row in rows if (row["world"], row["pools"], row["size"]) == (world, "random", SIZE)], title
        )
    figure.axes[0].set_ylabel("regret, as a part of a random pick's")
    figure.axes[0].legend(fontsize=8, frameon=False)
    figure.savefig(path, dpi=130, metadata={"Software": None})


def _panel(axes: Axes, rows: Sequence[Row], title: str) -> None:
    for way, (colour, marker) in LINES.items():
        own = sorted(((float(row["part_of_grid"]), row) for row in rows if row["way"] == way), key=lambda each: each[0])
        if not own:
            continue
        costs, fractions = [cost for cost, _ in own], [float(row["fraction"]) for _, row in own]
        axes.plot(costs, fractions, color=colour, marker=marker, markersize=4, linewidth=1.3, label=way)
        if way == SEARCH:
            low, high = ([float(row[f"fraction_{end}"] or "nan") for _, row in own] for end in ("low", "high"))
            axes.fill_between(costs, low, high, color=colour, alpha=0.15, linewidth=0)
    once = next((float(row["fraction"]) for row in rows if row["way"] == ONCE), None)
    if once is not None:
        axes.axhspan(0, once, color="#8a94a3", alpha=0.18, linewidth=0, label="error of grid search itself")
    axes.axvline(1 / 3, color="#8a94a3", linestyle=":", linewidth=0.9)
    axes.set_title(title, fontsize=10, loc="left")
    axes.set_xlabel("cost, as a part of grid search's")
    axes.spines[["top", "right"]].set_visible(False)
    axes.set_ylim(bottom=-0.05)


def rung_table(courses: Courses) -> str:
    """The table of the rungs: how the values there order the encoders, compared with the truth of the other seed."""
    parts = ("1/8", "1/4", "1/2", "the end")
    found = [[spearman(curves[:, rung], truth) for rung in range(len(parts))] for curves, truth in courses.halves]
    lines = [[f"seed {seed}", *(bare(each) for each in row)] for seed, row in enumerate(found)]
    return table(["trained with", *parts], lines)


def at_a_third(rows: Sequence[Row]) -> str:
    """The table of the document: what each way loses when it spends up to a third of grid search's cost."""
    lines = []
    for world in TITLES:
        for kind in ("random", "families"):
            for size in ("8", "16"):
                own = [row for row in rows if (row["world"], row["pools"], row["size"]) == (world, kind, size)]
                lines += [_line(own, way) for way in LINES if any(row["way"] == way for row in own)]
                lines += [_once(own)] if any(row["way"] == ONCE for row in own) else []
    return table(["world", "pools", "size", "way", "starts with", "cost", "regret, points", "part of random's"], lines)


def _line(rows: Sequence[Row], way: str) -> list[str]:
    cheap = [row for row in rows if row["way"] == way and float(row["part_of_grid"]) <= 1 / 3]
    best = max(cheap, key=lambda row: float(row["cost"])) if cheap else None
    if best is None:
        return [rows[0]["world"], rows[0]["pools"], rows[0]["size"], way, "-", "-", "-", "-"]
    about = [best[key] for key in ("world", "pools", "size", "way", "starts_with")]
    return [*about, f"{float(best['part_of_grid']):.2f}", _figure(best, "regret"), _figure(best, "fraction")]


def _once(rows: Sequence[Row]) -> list[str]:
    row = next(row for row in rows if row["way"] == ONCE)
    return [
        *(row[key] for key in ("world", "pools", "size")),
        f"{GRID}: its own error",
        "all",
        "1.00",
        "-",
        f"at most {_figure(row, 'fraction')}",
    ]


def _figure(row: Row, key: str) -> str:
    ends = f" [{float(row[f'{key}_low']):.2f}, {float(row[f'{key}_high']):.2f}]" if row[f"{key}_low"] else ""
    return f"{float(row[key]):.2f}{ends}"
