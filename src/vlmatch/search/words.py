"""A search in words: the plan before it starts, each finished part, the race as a table, and what it cost."""

from collections.abc import Sequence
from fractions import Fraction

from rich.box import SIMPLE_HEAD
from rich.table import Table
from rich.text import Text

from vlmatch.search.halving import Ladder, Part, Race
from vlmatch.search.ledger import Ledger
from vlmatch.search.spending import HOUR, Spending, runs_of, seconds_of, seconds_of_a_run


def plan_lines(ledger: Ledger, race: Race, spending: Spending, chosen_by: str) -> list[str]:
    """The plan, before anything is trained: what will be trained, what it costs, and what grid search would cost.

    chosen_by: what ordered the candidates, in words.
    """
    listed, all_of = len(ledger.arms), len(ledger.candidates)
    levels = race.plan(spending.affords_runs)
    whole, first = sum(level.cost for level in levels), levels[0].arms
    cut = f"; the budget pays for the first {first}" if first < listed else ""
    spare = listed < all_of and spending.runs is not None and spending.affords_runs(whole + 1)
    return [
        f"{all_of} candidates, ordered by {chosen_by}; {listed} of them race: {', '.join(ledger.arms)}{cut}",
        "plan: " + ", then ".join(f"{each.arms} to {goal(race.ladder, each.rung)}" for each in levels)
        + f" of the training: {runs(whole)} of a budget of {spending.words()}",
        f"grid search would train all {all_of} candidates: {runs(all_of)}; only those that race: {runs(listed)}",
        *(["a run or more of the budget is left: with search.arms=N, the first N candidates race"] if spare else []),
    ]  # fmt: skip


def resumed_line(ledger: Ledger) -> str | None:
    """What was finished before this start; None if nothing was."""
    if not ledger.parts:
        return None
    return f"finished before this start: {runs(runs_of(ledger.parts))} in {hours(ledger.parts)}"


def part_line(part: Part, ladder: Ladder) -> str:
    """A finished part: the encoder, how far it was trained, its value, and the time."""
    found = f"out of the race: {part.failure}" if part.value is None else f"{part.value:.4g}"
    return f"{part.encoder} to {goal(ladder, part.rung)}: {found} ({part.seconds:.0f} s)"


def race_table(race: Race, parts: Sequence[Part]) -> Table:
    """Every encoder that raced, with its value at each rung: the furthest first, then the best; failed ones last."""
    table = Table(
        "", "encoder", *(part_name(race.ladder, rung) for rung in range(len(race.ladder.rungs))), "", box=SIMPLE_HEAD
    )
    by_place = {(part.encoder, part.rung): part for part in parts}
    order = [
        name for rung in range(race.ladder.last, -1, -1) for name in race.best([p for p in parts if p.rung == rung])
    ]
    failed = [part.encoder for part in parts if part.value is None]
    for number, encoder in enumerate(dict.fromkeys([*(e for e in order if e not in failed), *failed]), 1):
        own = [by_place.get((encoder, rung)) for rung in range(len(race.ladder.rungs))]
        why = next((part.failure for part in own if part is not None and part.failure), "") or ""
        cells = ["" if part is None or part.value is None else f"{part.value:.4g}" for part in own]
        cells = ["-" if why else str(number), encoder, *cells, f"failed: {why}" if why else ""]
        table.add_row(*map(Text, cells))
    return table


def answer_lines(ledger: Ledger, race: Race) -> list[str]:
    """The winner, what the search cost, and what grid search would have cost."""
    parts, rate = ledger.parts, seconds_of_a_run(ledger.parts)
    rung, order = race.standing(parts)
    grid = len(ledger.candidates)
    early = "" if rung == race.ladder.last else (
        "; the budget ended before any training was complete, so this is the best at "
        f"{part_name(race.ladder, rung)} of a training"
    )  # fmt: skip
    value = next(part.value for part in parts if (part.encoder, part.rung) == (order[0], rung))
    return [
        f"answer: {order[0]} ({value:.4g}){early}",
        f"cost: {runs(runs_of(parts))}, {hours(parts)}; grid search over all {grid} candidates would have cost "
        f"{runs(grid)}" + ("" if rate is None else f", about {grid * rate / HOUR:.2f} hours"),
    ]  # fmt: skip


def part_name(ladder: Ladder, rung: int) -> str:
    """A rung as a fraction of a training: '1/8'."""
    return str(Fraction(ladder.rungs[rung]).limit_denominator(1000))


def goal(ladder: Ladder, rung: int) -> str:
    """How far a part goes: '1/8' or 'the end'."""
    return "the end" if rung == ladder.last else part_name(ladder, rung)


def runs(cost: float) -> str:
    """A cost in whole trainings: '2.5 runs'."""
    return f"{cost:.4g} run{'' if cost == 1 else 's'}"


def hours(parts: Sequence[Part]) -> str:
    """The time that parts took: '0.82 hours'."""
    return f"{seconds_of(parts) / HOUR:.2f} hours"
