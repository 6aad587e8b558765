"""The ways of spending trainings that are compared, and the table of what each lost at which cost."""

import csv
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from vlmatch.evidence.pools import Kind
from vlmatch.evidence.record import record
from vlmatch.evidence.replay import Figure, trained_once
from vlmatch.evidence.rules import SPEC
from vlmatch.search.halving import Ladder
from vlmatch.settings.work import Fed
from vlmatch_study.evidence.recording import CHOSEN, RULES, kinds_of
from vlmatch_study.evidence.worlds import STUDY
from vlmatch_study.search.replay import (
    Courses,
    Spend,
    Spent,
    at_random,
    by_rule,
    clusters,
    halving,
    replayed,
    searching,
    whole,
)

CURVE = STUDY / "search" / "curve.csv"
SIZES = (8, 16)
STARTS = (1, 2, 3, 4, 6, 8, 12, 16)
LADDER, KEEP = Ladder((0.125, 0.25, 0.5, 1.0), None, continues=True), 0.5
GRID, ONCE = "grid search", "grid search, at most"
RANDOM, SHEET, SCREENED = "random choice", "spec sheet", "the rule"
HALVED, SCREENED_HALVED, CLUSTERS = "halving", "the rule and halving", "CKA clusters"
SEARCH = "task=search"
DIGITS = 4


def spent(courses: Courses, fed: Fed, tell: Callable[[str], None] = lambda line: None) -> Iterator[Spent]:
    """What each way gave in every kind and size of pools of a world. fed: names the rule of that world."""
    for kind in kinds_of(courses.world):
        for size in SIZES:
            tell(f"{courses.world.name}: {kind}, pools of {size}")
            yield from replayed(courses, _ways(courses, fed, kind, size), kind, size)
            once = trained_once(courses.world, kind, size)
            if once.value is not None:
                yield Spent(ONCE, kind, size, size, float(size), Figure(None), once)


def _ways(courses: Courses, fed: Fed, kind: Kind, size: int) -> list[tuple[str, int, Spend]]:
    rule = next(each for each in RULES if each.name == CHOSEN[fed])
    screen, counts = by_rule(rule), [count for count in STARTS if count <= size]
    ways: list[tuple[str, int, Spend]] = [(GRID, size, whole(at_random, size))]
    for name, order in ((RANDOM, at_random), (SHEET, by_rule(SPEC)), (SCREENED, screen)):
        ways += [(name, count, whole(order, count)) for count in counts]
    if courses.values.shape[2] < len(LADDER.rungs):
        return ways
    ways += [(HALVED, count, halving(at_random, count, LADDER, KEEP)) for count in counts]
    ways += [(SCREENED_HALVED, count, halving(screen, count, LADDER, KEEP)) for count in counts]
    ways += [(CLUSTERS, count, clusters(courses, count, LADDER, KEEP)) for count in counts[:-1]]
    calibration = record().world(fed).calibration(kind, size)
    if calibration is not None:
        ways += [(SEARCH, runs, searching(rule, calibration.margin, LADDER, runs)) for runs in counts]
    return ways


HEAD = ("world", "way", "pools", "size", "starts_with", "cost", "part_of_grid", "regret", "regret_low", "regret_high",
        "fraction", "fraction_low", "fraction_high")  # fmt: skip


def write(path: Path, rows: Sequence[tuple[Courses, float, Spent]]) -> None:
    """Write the table. rows: each with its world, and the factor from truths to points of 100."""
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(HEAD)
        for courses, scale, each in rows:
            regrets = [None if value is None else value * scale for value in each.regret]
            figures = [each.cost, each.cost / each.size, *regrets, *each.fraction]
            cells = ["" if value is None else f"{value:.{DIGITS}g}" for value in figures]
            writer.writerow([courses.world.name, each.way, each.kind, each.size, each.budget, *cells])
