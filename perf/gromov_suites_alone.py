"""The suites that run each solve in its own process: `peers` to limit its time, `scaling` to measure its memory."""

import sys
from typing import Any

import numpy as np
from gromov_child import solve_alone
from gromov_energies import energies_at, energy_l1, energy_l2, marginal_error, rounded
from gromov_problems import Array, Problem, Problems, synthetic
from gromov_report import Figure
from gromov_solvers import METHODS, OTHERS, Method
from gromov_suites import Result, Row

PEERS = [
    METHODS[f"vlmatch {loss} {start}"] for start in ("product", "best", "best, local search") for loss in ("l1", "l2")
]
PEERS += [METHODS["POT l2 product"], *OTHERS]
LARGEST_FOR_POT = 2000
_GROWTH_GOAL, _MB_GOAL = 80.0, 2000.0
_SECONDS_GOALS = {("cpu", 5000): 180.0, ("cuda", 10_000): 60.0}


def peers(sizes: dict[int, Problems], limit: float, ott_python: str | None) -> Result:
    """Run every solver on the same problems, stop each after `limit` seconds, and measure the couplings' energies."""
    rows: list[Row] = []
    for n, problems in sizes.items():
        for problem in problems:
            for method in PEERS:
                rows.append(_peer_row(problem, method, limit, ott_python))
                print(f"n = {n}, {problem.name}: {method.name}: {_outcome(rows[-1])}", flush=True)
    _relate(rows)
    figures = []
    for n in sizes:
        for method in PEERS:
            mine = [row for row in rows if row["n"] == n and row["method"] == method.name]
            done = [row for row in mine if row["status"] == "done"]
            name = f"n = {n}, {method.name}"
            if done:
                figures.append(Figure.median(f"{name}: seconds", (row["seconds"] for row in done)))
            column = f"rounded_{method.loss}_relative_to_vlmatch"
            related = [row[column] for row in done if column in row]
            if related:
                figures.append(Figure.median(f"{name}: rounded energy over vlmatch's, less 1", related))
            if len(done) < len(mine):
                why = next(row["status"] for row in mine if row["status"] != "done")
                figures.append(Figure(f"{name}: not finished", f"{len(mine) - len(done)} of {len(mine)}: {why}"))
    return Result(rows, figures)


def _peer_row(problem: Problem, method: Method, limit: float, ott_python: str | None) -> Row:
    python = (ott_python or sys.executable) if method.solver.startswith("ott") else sys.executable
    alone = solve_alone(method.name, problem.x, problem.y, limit=limit, keep=True, python=python)
    row: Row = {
        "n": len(problem), "problem": problem.name, "method": method.name, "loss": method.loss,
        "settings": method.settings, "precision": method.precision, "status": alone.status,
        "seconds": alone.row.get("seconds"), "iterations": alone.row.get("iterations"),
    }  # fmt: skip
    if alone.coupling is None:
        return row
    if not np.isfinite(alone.coupling).all():
        return row | {"status": "failed: the coupling holds NaN"}
    row |= _judged(problem.x, problem.y, alone.coupling)
    return row | {"peak_mib": alone.row["peak_mib"], "baseline_mib": alone.row["baseline_mib"]}


def _judged(x: Array, y: Array, coupling: Array) -> dict[str, float]:
    """Both energies of the coupling as it is, and of the permutation that it is rounded to."""
    l1 = energy_l1(x, y, coupling)
    rounded_l1, rounded_l2 = energies_at(x, y, rounded(coupling))
    return {
        "energy_l1": l1.value, "energy_l1_error": l1.error, "energy_l2": energy_l2(x, y, coupling),
        "rounded_l1": rounded_l1, "rounded_l2": rounded_l2, "marginal_error": marginal_error(coupling),
    }  # fmt: skip


def _relate(rows: list[Row]) -> None:
    """Add seconds and rounded energies relative to vlmatch's from the product, with the same loss and problem."""
    for loss in ("l1", "l2"):
        first = {
            (row["n"], row["problem"]): row
            for row in rows
            if row["method"] == f"vlmatch {loss} product" and row["status"] == "done"
        }
        for row in rows:
            ours = first.get((row["n"], row["problem"]))
            if ours is None or row["status"] != "done":
                continue
            if row["loss"] == loss:
                row["seconds_relative_to_vlmatch"] = row["seconds"] / ours["seconds"]
            row[f"rounded_{loss}_relative_to_vlmatch"] = row[f"rounded_{loss}"] / ours[f"rounded_{loss}"] - 1


def scaling(sizes: list[int], limit: float, seed: int, device: str) -> Result:
    """Seconds and peak memory by n on Gaussian clouds, product start; POT's square loss up to LARGEST_FOR_POT."""
    ours = [METHODS[f"vlmatch{' on cuda' if device == 'cuda' else ''} {loss} product"] for loss in ("l1", "l2")]
    rows: list[Row] = []
    for n in sizes:
        problem = synthetic(n, seed=seed, few=True).all[0]
        for method in [*ours, METHODS["POT l2 product"]]:
            if method.solver == "POT" and n > LARGEST_FOR_POT:
                continue
            alone = solve_alone(method.name, problem.x, problem.y, limit=limit, keep=False)
            row = {"n": n, "problem": problem.name, "method": method.name, "loss": method.loss,
                   "precision": method.precision, "status": alone.status, **alone.row}  # fmt: skip
            if alone.row:
                row["added_mib"] = row["peak_mib"] - row["baseline_mib"]
            rows.append(row)
            print(f"n = {n}: {method.name}: {_outcome(row)}", flush=True)
    return Result(rows, _scaling_figures(rows, [method.name for method in ours]))


def _scaling_figures(rows: list[Row], ours: list[str]) -> list[Figure]:
    figures = []
    done = {(row["method"], row["n"]): row for row in rows if row["status"] == "done"}
    for name in ours:
        device = "cuda" if "cuda" in name else "cpu"
        if {(name, 1000), (name, 4000)} <= done.keys():
            growth = done[name, 4000]["seconds"] / done[name, 1000]["seconds"]
            figures.append(Figure(f"{name}: time at n = 4000 over that at 1000", growth, at_most=_GROWTH_GOAL))
        for n, row in ((n, row) for (method, n), row in done.items() if method == name):
            goal = _SECONDS_GOALS.get((device, n))
            figures.append(Figure(f"{name}, n = {n}: seconds", row["seconds"], at_most=goal))
            if ("POT l2 product", n) in done:
                ratio = done["POT l2 product", n]["seconds"] / row["seconds"]
                figures.append(Figure(f"{name}, n = {n}: times faster than POT's l2", ratio))
            most, added = (row[column] * 2**20 / 1e6 for column in ("peak_mib", "added_mib"))
            goal = _MB_GOAL if n == 5000 else None
            figures.append(Figure(f"{name}, n = {n}: peak MB, packages and distances included", most, at_most=goal))
            figures.append(Figure(f"{name}, n = {n}: peak MB, added by the solve", added))
    return figures


def _outcome(row: dict[str, Any]) -> str:
    if row["status"] != "done":
        return str(row["status"])
    peak = f", peak {row['peak_mib']:.0f} MiB" if "peak_mib" in row else ""
    return f"{row['seconds']:.2f} s{peak}"
