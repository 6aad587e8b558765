"""The suites that run in this process, on one set of problems: pair, pool and starts."""

import time
from collections.abc import Iterator
from itertools import combinations
from typing import Any, NamedTuple

import numpy as np
from gromov_energies import energy_l2, gap_l2
from gromov_problems import Problem, Problems, synthetic
from gromov_report import EQUAL, Figure
from gromov_solvers import Array, Method, Solved, our_method, pot_method
from scipy.stats import kendalltau

from vlmatch.gromov import GromovWasserstein, Space, gromov_wasserstein_pool, third_lower_bound

Row = dict[str, Any]
GOAL_N = 1000
GOALS = {("l1", "product"): 8.0, ("l2", "product"): 10.0, ("l1", "identity"): 6.0, ("l2", "identity"): 6.0}
"""How many times faster than POT's square loss from the same start, at n = 1000."""


class Result(NamedTuple):
    """The result of a suite: one row for each solve, and the figures computed from the rows."""

    rows: list[Row]
    figures: list[Figure]


def pair(problems: Problems, repeats: int) -> Result:
    """Each problem by vlmatch and by POT in turn, `repeats` times; the seconds are medians."""
    _warm_up()
    rows = []
    for problem in problems:
        rows += _pair_rows(problem, repeats)
        print(_progress(problem, rows), flush=True)
    figures = []
    for (loss, start), goal in GOALS.items():
        chosen = [row for row in rows if (row["solver"], row["loss"], row["start"]) == ("vlmatch", loss, start)]
        goal_here = goal if problems.n == GOAL_N else None
        name = f"{loss} from {start}: times faster than POT's l2"
        figures.append(Figure.median(name, (row["times_faster_than_pot"] for row in chosen), at_least=goal_here))
        figures.append(Figure(f"{name}, sums", _added_up(rows, chosen, start)))
    for start in ("product", "identity"):
        figures += _energy_figures(
            [row for row in rows if row["loss"] == "l2" and row["start"] == start], f"l2 {start}"
        )
    for solver in ("vlmatch", "POT"):
        gaps = [row["gap"] for row in rows if row["solver"] == solver and row["gap"] is not None]
        figures.append(Figure.median(f"{solver}: gap at the end", gaps))
    bounds = [row["seconds"] for row in rows if row["solver"] == "vlmatch third lower bound"]
    figures.append(Figure.median("third lower bound (l1): seconds", bounds))
    return Result(rows, figures)


def _pair_rows(problem: Problem, repeats: int) -> list[Row]:
    methods = [our_method(loss, start) for start in ("product", "identity") for loss in ("l1", "l2")]
    methods += [pot_method(start) for start in ("product", "identity")]
    solved: dict[str, list[Solved]] = {method.name: [] for method in methods}
    for _ in range(repeats):
        for method in methods:
            solved[method.name].append(method.solve(problem.x, problem.y))
    rows = [_row(problem, method, solved[method.name]) for method in methods]
    theirs = {row["start"]: row for row in rows if row["solver"] == "POT"}
    for row in rows:
        row["times_faster_than_pot"] = theirs[row["start"]]["seconds"] / row["seconds"]
        same_loss = row["loss"] == "l2"
        row["energy_relative_to_pot"] = row["energy"] / theirs[row["start"]]["energy"] - 1 if same_loss else None
    started = time.perf_counter()
    bound = third_lower_bound(problem.x, problem.y, loss="l1")
    seconds = time.perf_counter() - started
    about: Row = {"problem": problem.name, "encoder": problem.encoder, "llm": problem.llm, "n": len(problem)}
    about |= {"solver": "vlmatch third lower bound", "loss": "l1", "start": "", "gap": None}
    return [*rows, {**about, "seconds": seconds, "energy": bound, "precision": "float64"}]


def _row(problem: Problem, method: Method, runs: list[Solved]) -> Row:
    """Energy and gap are measured here for l2, the solver's own for l1; `gap_reported` is the solver's own."""
    last = runs[-1]
    energy, gap = last.energy, last.gap
    if method.loss == "l2":
        coupling = last.coupling()
        energy, gap = energy_l2(problem.x, problem.y, coupling), gap_l2(problem.x, problem.y, coupling)
    return {
        "problem": problem.name, "encoder": problem.encoder, "llm": problem.llm, "n": len(problem),
        "solver": method.solver, "loss": method.loss, "start": method.start,
        "seconds": float(np.median([run.seconds for run in runs])), "energy": energy,
        "gap": gap, "gap_reported": last.gap, "iterations": last.iterations, "precision": method.precision,
    }  # fmt: skip


def _added_up(rows: list[Row], chosen: list[Row], start: str) -> float:
    theirs = sum(row["seconds"] for row in rows if row["solver"] == "POT" and row["start"] == start)
    return float(theirs / sum(row["seconds"] for row in chosen))


def _energy_figures(rows: list[Row], name: str) -> list[Figure]:
    """Compare our energies with POT's on the same problems. rows: of one loss and start."""
    theirs = {row["problem"]: row["energy"] for row in rows if row["solver"] == "POT"}
    ours = [row for row in rows if row["solver"] == "vlmatch"]
    relative = np.array([row["energy"] / theirs[row["problem"]] - 1 for row in ours])
    lower, higher = int((relative < -EQUAL).sum()), int((relative > EQUAL).sum())
    return [
        Figure(f"{name}: our energy at or below POT's, share of problems", 1 - higher / len(relative), at_least=0.95),
        Figure(f"{name}: our energy lower, equal, higher", f"{lower}, {len(relative) - lower - higher}, {higher}"),
        Figure.median(f"{name}: our energy over POT's, less 1", relative),
    ]  # fmt: skip


def pool(problems: Problems) -> Result:
    """All problems from the product start: by vlmatch's pool on all cores, then by POT one after another."""
    _warm_up()
    rows: list[Row] = []
    totals: dict[str, float] = {}
    for loss in ("l1", "l2"):
        seconds, found = _pooled(problems, loss=loss, start="product", lower_bound=None)
        totals[loss] = seconds
        for problem, one in zip(problems, found, strict=True):
            solved = Solved(one.coupling.dense, one.seconds, one.iterations, one.energy, one.gap)
            rows.append(_row(problem, our_method(loss, "product"), [solved]))
        print(f"vlmatch {loss}: {len(problems)} problems in {seconds:.1f} s", flush=True)
    method = pot_method("product")
    theirs = [_row(problem, method, [method.solve(problem.x, problem.y)]) for problem in problems]
    totals["POT"] = sum(row["seconds"] for row in theirs)
    rows += theirs
    at_goal = problems.n == GOAL_N and len(problems) == 38
    limit, speedup = (60.0, 8.0) if at_goal else (None, None)
    figures = [
        Figure("distances from embeddings, all problems: seconds", problems.seconds),
        Figure("vlmatch l1, all problems: seconds", totals["l1"]),
        Figure("vlmatch l1, from embeddings to energies: seconds", problems.seconds + totals["l1"], at_most=limit),
        Figure("vlmatch l2, all problems: seconds", totals["l2"]),
        Figure("POT l2, all problems: seconds", totals["POT"]),
        Figure("l1: times faster than POT's l2", totals["POT"] / totals["l1"], at_least=speedup),
        Figure("l2: times faster than POT's l2", totals["POT"] / totals["l2"], at_least=speedup),
        *_energy_figures([row for row in rows if row["loss"] == "l2"], "l2 product"),
    ]
    return Result(rows, figures)


def starts(problems: Problems, loss: str) -> Result:
    """Compare the best of all starts, and the local search, with the product start alone: energies and rankings."""
    _warm_up()
    rows: list[Row] = []
    figures: list[Figure] = []
    baseline: list[GromovWasserstein] = []
    for start, local_search in (("product", False), ("product", True), ("best", False), ("best", True)):
        bound = "third" if not baseline else None
        seconds, found = _pooled(problems, loss=loss, start=start, local_search=local_search, lower_bound=bound)
        baseline = baseline or found
        name = f"{start}, local search" if local_search else start
        print(f"{name}: {len(problems)} problems in {seconds:.1f} s", flush=True)
        rows += [
            {"problem": problem.name, "encoder": problem.encoder, "llm": problem.llm, "n": len(problem), "loss": loss,
             "start": start, "local_search": local_search, "won": one.start, "energy": one.energy,
             "distance": one.distance, "relative_to_product": one.energy / first.energy - 1, "gap": one.gap,
             "iterations": one.iterations, "lower_bound": one.lower_bound, "seconds": one.seconds,
             "tried": "; ".join(f"{tried.start} {tried.energy:.6g}" for tried in one.tried)}
            for problem, one, first in zip(problems, found, baseline, strict=True)
        ]  # fmt: skip
        figures.append(Figure(f"{name}: seconds, all problems", seconds))
        if found is not baseline:
            figures += _lower_figures(name, baseline, found)
            figures += list(_ranking_figures(name, problems, baseline, found))
        else:
            figures.append(_settled(problems, found))
    return Result(rows, figures)


def _lower_figures(name: str, baseline: list[GromovWasserstein], found: list[GromovWasserstein]) -> list[Figure]:
    saved = np.array([1 - one.energy / first.energy for one, first in zip(found, baseline, strict=True)])
    lower = saved > EQUAL
    return [
        Figure(f"{name}: share of problems with a lower energy than product", float(lower.mean()), count=len(saved)),
        Figure.median(f"{name}: energy saved, as a share of product's", saved),
    ]


def _ranking_figures(
    name: str, problems: Problems, baseline: list[GromovWasserstein], found: list[GromovWasserstein]
) -> Iterator[Figure]:
    """For each LLM: Kendall's tau between the two rankings of encoders, and the picks."""
    for llm in dict.fromkeys(problem.llm for problem in problems):
        chosen = [k for k, problem in enumerate(problems) if problem.llm == llm]
        if len(chosen) < 2:
            continue
        before, after = ([result[k].distance for k in chosen] for result in (baseline, found))
        yield Figure(f"{name}, {llm}: Kendall's tau of the ranking with product's", float(kendalltau(before, after)[0]))
        candidates = [k for k in chosen if not problems.all[k].control]
        if candidates:
            picks = [
                problems.all[min(candidates, key=lambda k: result[k].distance)].encoder for result in (baseline, found)
            ]
            yield Figure(f"{name}, {llm}: picks", picks[1] if picks[0] == picks[1] else f"{picks[1]}, was {picks[0]}")


def _settled(problems: Problems, found: list[GromovWasserstein]) -> Figure:
    """The share of pairs of encoders with one LLM whose intervals [lower_bound, distance] do not overlap."""
    apart = total = 0
    for a, b in combinations(range(len(problems)), 2):
        if problems.all[a].llm == problems.all[b].llm:
            total += 1
            first, second = sorted((found[a], found[b]), key=lambda one: one.distance)
            apart += first.distance < (second.lower_bound or 0.0)
    return Figure("orders of two encoders that the intervals settle: share", apart / max(total, 1), count=total)


def _pooled(problems: Problems, **options: Any) -> tuple[float, list[GromovWasserstein]]:
    """Seconds and results of all problems. Each space is checked once; the seconds include these checks."""
    started = time.perf_counter()
    spaces: dict[int, Space] = {}

    def space(distances: Array) -> Space:
        if id(distances) not in spaces:
            spaces[id(distances)] = Space.of(distances)
        return spaces[id(distances)]

    found = gromov_wasserstein_pool([(space(one.x), space(one.y)) for one in problems], **options)
    return time.perf_counter() - started, found


def _warm_up() -> None:
    """Compile, or load compiled code, before any clock starts."""
    problem = synthetic(300).all[0]  # long sums have their own kernel
    for start in ("product", "best"):
        for loss in ("l1", "l2"):
            our_method(loss, start, local_search=True).solve(problem.x, problem.y)
    pot_method("product").solve(problem.x, problem.y)
    third_lower_bound(problem.x, problem.y, loss="l1")


def _progress(problem: Problem, rows: list[Row]) -> str:
    mine = [row for row in rows if row["problem"] == problem.name and row["solver"] in ("vlmatch", "POT")]
    parts = (f"{row['solver']} {row['loss']} {row['start']} {row['seconds']:.2f} s" for row in mine)
    return f"{problem.name}: {', '.join(parts)}"
