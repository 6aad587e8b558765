"""The two plots of the comparison: speed relative to POT for each problem, and seconds and memory by n."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from gromov_suites import GOAL_N, GOALS, Row
from matplotlib.figure import Figure
from matplotlib.ticker import FixedLocator, FuncFormatter, NullFormatter

_LOOKS = {("l1", "product"): ("#c8553d", "o"), ("l2", "product"): ("#2f6690", "o"),
          ("l1", "identity"): ("#c8553d", "^"), ("l2", "identity"): ("#2f6690", "^")}  # fmt: skip
_COLOURS = {"l1": "#c8553d", "l2": "#2f6690", "POT": "#7a7a7a"}


def plot_pair(rows: Sequence[Row], source: str, path: Path) -> None:
    """One line for each problem: how many times faster vlmatch is than POT's square loss from the same start."""
    ours = [row for row in rows if row["solver"] == "vlmatch"]
    ratios = {(row["problem"], row["loss"], row["start"]): row["times_faster_than_pot"] for row in ours}
    names = sorted({row["problem"] for row in ours}, key=lambda name: ratios[name, "l1", "product"])
    figure = Figure(figsize=(9, 1.9 + 0.24 * len(names)), layout="constrained")
    axes = figure.subplots()
    for (loss, start), (colour, marker) in _LOOKS.items():
        values = [ratios[name, loss, start] for name in names]
        label = f"{loss} from {start}, median {np.median(values):.1f}"
        faces = colour if start == "product" else "none"
        axes.scatter(
            values, range(len(names)), s=30, color=faces, edgecolors=colour, marker=marker, label=label, zorder=3
        )
    axes.axvline(1, color="black", linewidth=1)
    if ours[0]["n"] == GOAL_N:
        for goal in sorted(set(GOALS.values())):
            whose = ", ".join(f"{loss} {start}" for (loss, start), value in GOALS.items() if value == goal)
            axes.axvline(goal, color="0.55", linewidth=0.8, linestyle="--")
            axes.annotate(f"goal {whose}", (goal, 1), xycoords=("data", "axes fraction"), fontsize=7, rotation=90,
                          ha="right", va="top", color="0.35")  # fmt: skip
    axes.set_xscale("log")
    _plain_ticks(axes.xaxis, [0.5, 1, 2, 3, 4, 6, 8, 10, 15, 20, 30, 50, 100])
    axes.set_yticks(range(len(names)), names, fontsize=8)
    axes.set_ylim(-0.8, len(names) - 0.2)
    axes.grid(axis="x", color="0.92")
    axes.set_xlabel("times faster than POT's conditional gradient (square loss) from the same start")
    axes.set_title(source, fontsize=10)
    axes.spines[["top", "right"]].set_visible(False)
    figure.legend(loc="outside lower center", ncols=2, fontsize=8, frameon=False)
    figure.savefig(path, dpi=110)


def plot_scaling(rows: Sequence[Row], source: str, path: Path) -> None:
    """Seconds and added memory against n, both axes logarithmic, one line for each solver."""
    figure = Figure(figsize=(10, 4.6), layout="constrained")
    left, right = figure.subplots(1, 2)
    done = [row for row in rows if row["status"] == "done"]
    for name in dict.fromkeys(row["method"] for row in done):
        mine = sorted((row for row in done if row["method"] == name), key=lambda row: row["n"])
        sizes = [row["n"] for row in mine]
        colour = _COLOURS["POT"] if name.startswith("POT") else _COLOURS[mine[0]["loss"]]
        left.plot(sizes, [row["seconds"] for row in mine], "o-", color=colour, label=_labelled(name, mine))
        right.plot(sizes, [max(row["added_mib"], 1) for row in mine], "o-", color=colour)
    sizes = sorted({row["n"] for row in done})
    _cube(left, done, sizes)
    right.plot(sizes, [8 * n * n / 2**20 for n in sizes], ":", color="0.5", label="one n x n matrix of float64")
    for axes, what in ((left, "seconds"), (right, "peak memory that the solve added, MiB")):
        axes.set(xscale="log", yscale="log", xlabel="n, points in each space", ylabel=what)
        _plain_ticks(axes.xaxis, sizes)
        axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
        axes.grid(color="0.92")
        axes.spines[["top", "right"]].set_visible(False)
        axes.legend(fontsize=8, frameon=False)
    figure.suptitle(f"product start, {source}", fontsize=10)
    figure.savefig(path, dpi=110)


def _labelled(name: str, mine: Sequence[Row]) -> str:
    """The name, with the growth of time from n = 1000 to 4000 if both were run."""
    by_n = {row["n"]: row["seconds"] for row in mine}
    if 1000 in by_n and 4000 in by_n:
        return f"{name} (4000 / 1000: {by_n[4000] / by_n[1000]:.0f}x)"
    return name


def _cube(axes: Any, done: Sequence[Row], sizes: Sequence[int]) -> None:
    """A dotted line of slope 3 through our time at the largest n."""
    last = max((row for row in done if row["method"].startswith("vlmatch")), key=lambda row: row["n"], default=None)
    if last is not None:
        axes.plot(sizes, [last["seconds"] * (n / last["n"]) ** 3 for n in sizes], ":", color="0.5", label="slope 3")


def _plain_ticks(axis: Any, ticks: Sequence[float]) -> None:
    axis.set_major_locator(FixedLocator(list(ticks)))
    axis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    axis.set_minor_formatter(NullFormatter())
