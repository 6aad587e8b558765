"""Write the results of a run: one CSV for each suite, and figures with goals in gromov_summary.csv and a table."""

import os
import platform
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from rich.console import Console
from rich.table import Table
from threadpoolctl import threadpool_info

SUMMARY = "gromov_summary.csv"
EQUAL = 1e-6
"""Two energies count as equal if their relative difference is at most this."""


@dataclass(frozen=True)
class Figure:
    """One number of a suite's summary, and its goal. A median also has its count, least and greatest value."""

    quantity: str
    value: float | str
    least: float | None = None
    greatest: float | None = None
    count: int | None = None
    at_least: float | None = None
    at_most: float | None = None

    @classmethod
    def median(cls, quantity: str, values: Iterable[float], **goal: float | None) -> "Figure":
        """The median of values, with their range."""
        array = np.asarray(list(values))
        return cls(quantity, float(np.median(array)), float(array.min()), float(array.max()), len(array), **goal)

    @property
    def goal(self) -> str:
        """The goal in words; empty if there is none."""
        if self.at_least is not None:
            return f"at least {self.at_least:g}"
        return "" if self.at_most is None else f"at most {self.at_most:g}"

    @property
    def reached(self) -> str:
        """Whether the goal was reached: "yes" or "no"; empty if there is none."""
        if not self.goal:
            return ""
        low = -np.inf if self.at_least is None else self.at_least
        high = np.inf if self.at_most is None else self.at_most
        return "yes" if low <= float(self.value) <= high else "no"


def machine() -> str:
    """Processor, cores, threads, versions and load, in one line."""
    pools = {f"{pool['internal_api']} {pool['num_threads']}" for pool in threadpool_info()}
    libraries = ", ".join(f"{name} {version(name)}" for name in ("numpy", "scipy", "POT", "numba", "torch"))
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    load = f"load {os.getloadavg()[0]:.1f}" if hasattr(os, "getloadavg") else "load unknown"
    return (
        f"{_processor()}, {cores} cores; threads: vlmatch {cores}, {', '.join(sorted(pools))}; "
        f"Python {platform.python_version()}, {libraries}; {platform.system()}; {load} when started; "
        f"{datetime.now(UTC):%Y-%m-%d}"
    )


def write_rows(folder: Path, suite: str, rows: Sequence[Mapping[str, Any]]) -> None:
    """Write gromov_SUITE.csv."""
    pd.DataFrame(rows).to_csv(folder / f"gromov_{suite}.csv", index=False, float_format="%.9g")


def write_figures(folder: Path, suite: str, problems: str, figures: Sequence[Figure], machine_line: str) -> None:
    """Write the figures of a suite to gromov_summary.csv, and remove its earlier ones."""
    rows = [
        {"suite": suite, "problems": problems}
        | {key: value for key, value in asdict(figure).items() if not key.startswith("at_")}
        | {"goal": figure.goal, "reached": figure.reached}
        for figure in [Figure("machine", machine_line), *figures]
    ]
    path = folder / SUMMARY
    kept = pd.read_csv(path, keep_default_na=False).astype(object) if path.exists() else pd.DataFrame()
    if len(kept):
        kept = kept[kept["suite"] != suite]
    new = pd.DataFrame(rows, dtype=object)
    for column in ("value", "least", "greatest"):
        new[column] = [_shown(value) for value in new[column]]
    pd.concat([kept, new]).to_csv(path, index=False)


def print_figures(suite: str, problems: str, figures: Sequence[Figure]) -> None:
    """Print the figures as a table, with their goals and whether these were reached."""
    table = Table("quantity", "value", "least ... greatest", "of", "goal", "reached", title=f"{suite}: {problems}")
    for figure in figures:
        spread = "" if figure.least is None else f"{_shown(figure.least)} ... {_shown(figure.greatest)}"
        count = "" if figure.count is None else str(figure.count)
        table.add_row(figure.quantity, _shown(figure.value), spread, count, figure.goal, figure.reached)
    Console(width=140).print(table)


def _shown(value: float | str | None) -> str:
    if value is None:
        return ""
    return value if isinstance(value, str) else f"{value:.4g}"


def _processor() -> str:
    info = Path("/proc/cpuinfo")
    if info.exists():
        names = [
            line.split(":", 1)[1].strip() for line in info.read_text().splitlines() if line.startswith("model name")
        ]
        if names:
            return names[0]
    return platform.processor() or platform.machine()
