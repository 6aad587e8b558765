"""The tables of docs/evidence.md, made of the record."""

from math import sqrt
from pathlib import Path

from vlmatch.evidence.record import SIZE, SPEC_SHEET, Record, WorldRecord
from vlmatch.report.evidence import bare
from vlmatch_study.evidence.benchmarks import agreement_table, regrets_table
from vlmatch_study.evidence.cambrian1 import spec_sheet_table
from vlmatch_study.evidence.parts import beyond_table, parts_table
from vlmatch_study.marked import replaced
from vlmatch_study.tables import figure, table

SIZES = (5, 8, 12)
DETECTED = 2.8  # an effect of so many standard errors is shown by 80% of studies at the 5% level
NEW_FAMILIES = (6, 12, 24, 48)
MODULE = "vlmatch_study.evidence"


def tables(record: Record) -> dict[str, str]:
    """Every table by its name: outcomes and kinds of pools of each world, and the tables over all worlds."""
    found = {f"outcomes {world.name}": _outcomes(record, world) for world in record.worlds}
    found |= {f"kinds {world.name}": _kinds(record, world) for world in record.worlds[::2]}
    return found | {
        "choosing": _choosing(record),
        "rules": _rules(record),
        "lists": _lists(record),
        "power": _power(record),
        "cambrian1": spec_sheet_table(),
        "parts": parts_table(),
        "beyond": beyond_table(),
        "llms": agreement_table(),
        "benchmarks": regrets_table(),
    }


def write(document: Path, record: Record) -> None:
    """Write the tables into a document."""
    text = document.read_text(encoding="utf-8")
    document.write_text(replaced(text, tables(record), MODULE), encoding="utf-8")


def _outcomes(record: Record, world: WorldRecord) -> str:
    """A line for each rule: Spearman, regret as a fraction of random's and in points, and its first three."""
    head = ["picked by", "Spearman", *(f"regret, pools of {size}" for size in SIZES), "points (8)", "first three (8)"]
    rows = []
    for name in ("random", *(rule.name for rule in record.rules)):
        at = {size: world.outcome(name, size=size) for size in SIZES}
        middle = at[SIZE]
        if middle is None:
            continue
        fractions = [bare(each.fraction.value) if each else "-" for each in at.values()]
        fractions[1] = figure(*middle.fraction)
        title = "a random pick" if name == "random" else record.rule(name).title
        title = f"**{title}**" if name == world.rule.name else title
        spearman = "" if name == "random" else figure(*world.correlations[name])
        rows.append([title, spearman, *fractions, f"{middle.regret.value:.1f}", figure(*middle.first_three)])
    return table(head, rows)


def _kinds(record: Record, world: WorldRecord) -> str:
    """The regret and the first three of a few rules for each kind of pool of 8."""
    kinds = list(dict.fromkeys(each.kind for each in world.outcomes if each.size == SIZE))
    rows = []
    for rule in dict.fromkeys((SPEC_SHEET, "ridge_r2", "mutual_nn", world.rule.name)):
        found = [next(o for o in world.outcomes if (o.rule, o.kind, o.size) == (rule, kind, SIZE)) for kind in kinds]
        rows.append([record.rule(rule).title, *(f"{figure(*o.fraction)}; {bare(o.first_three.value)}" for o in found)])
    return table(["picked by", *(KIND_WORDS[kind] for kind in kinds)], rows)


KIND_WORDS = {
    "random": "any",
    "families": "one of a family",
    "language": "language-supervised",
    "tokens": "one number of tokens",
}


def _choosing(record: Record) -> str:
    rows = [
        [
            world.title + ("" if world.name != "embedded_truth2" else ", truth version 2"),
            str(each.size),
            figure(*each.fraction),
            figure(*each.first_three),
            "; ".join(
                f"{record.rule(name).title} {100 * count / each.splits:.0f}%"
                for name, count in list(each.chosen.items())[:3]
            ),
        ]
        for world in record.worlds
        for each in world.choosing
    ]
    return table(["world", "pools of", "regret", "first three", "chosen most often"], rows)


def _rules(record: Record) -> str:
    """Each candidate rule in pools of 8 of the half that did not choose, and its difference from the spec sheet."""
    rows = []
    for name in record.candidates:
        cells = []
        for world in record.worlds:
            chosen = world.chosen_by()
            if chosen is None or name not in chosen.by_rule:
                cells.append("-")
                continue
            more = chosen.above_first.get(name)
            cells.append(figure(*chosen.by_rule[name]) + (f"; {figure(*more)}" if more else ""))
        rows.append([record.rule(name).title, *cells])
    return table(["rule", *(world.name for world in record.worlds)], rows)


def _lists(record: Record) -> str:
    rows = []
    for world in (record.world("patches"), record.world("pooled")):
        for rule in (world.rule, world.spec_sheet):
            for size in (3, 5, 8, 12, 16):
                each = world.calibration("random", size, rule.name)
                if each is not None and each.size == size:
                    rows.append(
                        [
                            world.name, rule.title, str(size), bare(each.margin), figure(*each.coverage),
                            figure(*each.held_out), f"{each.length:.1f}", bare(each.top_k),
                            "-" if each.difference is None else bare(each.difference),
                        ]
                    )  # fmt: skip
    head = ["world", "rule", "pools of", "margin", "held the best", "on other families", "mean length", "plain top-k"]
    return table([*head, "difference"], rows)


def _power(record: Record) -> str:
    """The smallest difference to the spec sheet that new trainings would show, by their number of families."""
    rows = []
    for world in (record.world("patches"), record.world("pooled")):
        now = world.spec_sheet_loses_more
        if now.low is None or now.high is None:
            continue
        error = (now.high - now.low) / (2 * 1.96)
        needed = [DETECTED * error * sqrt(world.n_families / families) for families in NEW_FAMILIES]
        rows.append([world.name, figure(*now), *(bare(each) for each in needed)])
    return table(["world", "spec sheet minus rule", *(f"{n} new families" for n in NEW_FAMILIES)], rows)
