"""The page's record: what choosing by each rule lost in replayed pools, and how long lists had to be."""

from dataclasses import dataclass

from markupsafe import Markup

from vlmatch.evidence.pools import KINDS
from vlmatch.evidence.record import SIZE, Record, WorldRecord, record
from vlmatch.evidence.replay import Figure
from vlmatch.ranking import Fed, Question
from vlmatch.report.cells import Cell, Column, Line, Table, correlation_cell, figure_cell, share_cell
from vlmatch.report.record_picture import record_panel
from vlmatch.report.words import opening, percent, with_interval

RANDOM = "random"  # the rule that picks at random
SETTINGS: tuple[Fed, ...] = ("patches", "pooled")  # of the two panels


@dataclass(frozen=True)
class RecordView:
    """What the page shows of one world of the record. choosing: what choosing the rule itself cost, in words."""

    world: WorldRecord
    panels: tuple[Markup, ...]
    rules: Table
    lists: Table
    choosing: str | None


def record_view(question: Question, key: str) -> RecordView:
    """The record of the setting that is asked about."""
    whole = record()
    world = whole.world(question.fed)
    panels = tuple(Markup(record_panel(whole.world(setting))) for setting in SETTINGS)
    return RecordView(
        world, panels, _rules(whole, world, f"{key}-rules"), _lists(world, f"{key}-lists"), _choosing(whole, world)
    )


def _rules(whole: Record, world: WorldRecord, key: str) -> Table:
    """One row a rule: regret in pools of `SIZE` of each kind, and how often a good candidate was in the first three."""
    kinds = [kind for kind in KINDS if any(each.kind == kind and each.size == SIZE for each in world.outcomes)]
    titles = {rule.name: rule.title for rule in whole.rules}
    names = dict.fromkeys(each.rule for each in world.outcomes if each.size == SIZE)
    columns = [
        Column("pick's regret", f"pools of {SIZE} of any candidates; as a share of a random pick's regret"),
        Column("in points", world.unit),
        Column("best in first three", "the best, or one within a standard error of it", best_first="descending"),
        *(Column(f"regret, {KINDS[kind]}") for kind in kinds[1:]),
        Column("Spearman", "with the truth, over all encoders", best_first="descending"),
    ]
    lines = []
    for name in names:
        found = {each.kind: each for each in world.outcomes if each.rule == name and each.size == SIZE}
        first = found.get(kinds[0])
        cells = [
            share_cell(first.fraction if first else None),
            figure_cell(first.regret.value if first else None, ".1f"),
            share_cell(first.first_three if first else None),
            *(share_cell(found[kind].fraction if kind in found else None) for kind in kinds[1:]),
            correlation_cell(world.correlations.get(name, Figure(None))),
        ]
        title = "a pick at random" if name == RANDOM else titles.get(name, name)
        lines.append(Line(title, tuple(cells), "listed" if name == world.rule.name else ""))
    lines.sort(key=lambda line: (line.cells[0].sorted_by is None, line.cells[0].sorted_by))
    return Table(key, "chosen by", tuple(columns), tuple(lines))


def _lists(world: WorldRecord, key: str) -> Table:
    """One row for each kind and size of pools: how long lists by the chosen rule were, and how often they held."""
    columns = [
        Column("encoders in the pool"),
        Column("held the best", "or one within a standard error of it", best_first="descending"),
        Column("margin from other families", "the same, with the margin from the other half of the families"),
        Column("mean length"),
        Column("plain list", "the coverage of a plain list of that length", best_first="descending"),
    ]
    lines = [
        Line(
            KINDS[each.kind],
            (
                figure_cell(each.size, "d"),
                share_cell(each.coverage),
                share_cell(each.held_out),
                figure_cell(each.length, ".1f"),
                Cell(percent(each.top_k), sorted_by=each.top_k),
            ),
        )
        for each in world.calibrations
        if each.rule == world.rule.name
    ]
    return Table(key, "pools", tuple(columns), tuple(lines))


def _choosing(whole: Record, world: WorldRecord) -> str | None:
    """What choosing a rule on half of the families gave on the other half, in words."""
    found = world.chosen_by()
    if found is None or found.fraction.value is None:
        return None
    most = max(found.chosen, key=lambda name: found.chosen[name])
    return (
        f"Choosing among {len(whole.candidates)} rules on one random half of the families, and measuring on pools of "
        f"{found.size} from the other half: the pick lost {with_interval(found.fraction)} of what a random pick loses "
        f"({found.splits} divisions). {opening(whole.rule(most).title)} was chosen in "
        f"{percent(found.chosen[most] / found.splits)} of them."
    )
