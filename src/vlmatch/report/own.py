"""Scores against the user's own truth: in the terminal, as a data frame, and as a section of the page."""

import io
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table as Printed
from rich.text import Text

from vlmatch.errors import enumerated
from vlmatch.evidence.own.cells import OwnTruth
from vlmatch.evidence.own.record import OwnRecord, RuleRecord, own_records
from vlmatch.evidence.own.scores import KnownScore, ScoreTable
from vlmatch.evidence.replay import Figure, Outcome
from vlmatch.evidence.rules import single
from vlmatch.files import renamed, write_text
from vlmatch.ranking import Ranking
from vlmatch.report.cells import UNKNOWN, Cell, Column, Line, Table, between, correlation_cell, share_cell
from vlmatch.report.evidence import bare, interval, n_seeds
from vlmatch.report.spreadsheet import harmless
from vlmatch.report.table import MINIMUM_WIDTH
from vlmatch.report.words import with_interval
from vlmatch.scores.scored import Scored

if TYPE_CHECKING:
    import pandas as pd

SHOWN_PICKS = 2


@dataclass(frozen=True)
class OwnEvidence:
    """The records of scores against a truth of the user's, and what was left out of it.

    It prints as its tables, and has `to_frame()` and `report(path)`.
    """

    source: str
    records: tuple[OwnRecord, ...]
    notes: tuple[str, ...]

    @classmethod
    def of(cls, truth: OwnTruth, tables: Sequence[ScoreTable]) -> "OwnEvidence":
        """Compare every table of scores with the truth of the same LLM; VlmatchError where nothing can be compared."""
        records, notes = own_records(truth, tables)
        return cls(truth.source, tuple(records), tuple(notes))

    def to_frame(self) -> "pd.DataFrame":
        """One row for each record and rule, with unrounded figures and their intervals."""
        import pandas as pd

        return pd.DataFrame([row for record in self.records for row in _rows(record)])

    def to_csv(self, path: str | Path) -> Path:
        """Write the rows of `to_frame` as CSV and return the path; names that look like a formula get an apostrophe."""
        path = Path(path)
        with renamed(path) as temporary:
            self.to_frame().map(harmless).to_csv(temporary, index=False)
        return path

    def report(self, path: str | Path) -> Path:
        """Write the page of these records alone, one HTML file that loads nothing; returns its path."""
        from vlmatch.report.html import rendered_page

        path = Path(path)
        write_text(path, rendered_page((), own=self))
        return path

    def show(self, console: Console) -> None:
        """Print a table for each record, and the notes."""
        for record in self.records:
            console.print()
            console.print(Text(headline(record), style="bold"), soft_wrap=True)
            console.print(_printed(record))
            for note in record.notes:
                console.print(Text.assemble(("note: ", "yellow"), note), soft_wrap=True)
        for note in self.notes:
            console.print(Text.assemble(("note: ", "yellow"), note), soft_wrap=True)

    def __str__(self) -> str:
        text = io.StringIO()
        self.show(Console(file=text, width=MINIMUM_WIDTH))
        return text.getvalue().strip("\n")


def tables_of(rankings: Iterable[Ranking]) -> list[ScoreTable]:
    """The scores of rankings, with their noise twins, as tables for a truth: one for each LLM and pair of recipes."""
    return [
        ScoreTable(
            llm.llm,
            _known({ranked.row.encoder: ranked.row.scores for ranked in llm.encoders}),
            about=f"features '{ranking.image_recipe}', captions '{ranking.text_recipe}'",
        )
        for ranking in rankings
        for llm in ranking.llms
    ]


def _known(rows: Mapping[str, Mapping[str, Scored]]) -> dict[str, KnownScore]:
    every = {name: scored for scores in rows.values() for name, scored in scores.items()}
    found = {}
    for name, scored in every.items():
        direct = single(name, scored.title, scored.higher_is_better)
        found[name] = KnownScore(direct, {e: scores[name].value for e, scores in rows.items() if name in scores})
        twins = {e: twin for e, scores in rows.items() if name in scores and (twin := scores[name].noise) is not None}
        if twins:
            noise = single(f"{name}_noise", f"{scored.title} of noise", scored.higher_is_better)
            found[noise.name] = KnownScore(noise, twins)
    return found


@dataclass(frozen=True)
class OwnRecordView:
    """What the page shows of one record."""

    title: str
    measure: str
    seeds: int
    n: int
    n_families: int
    replayed: int
    n_rules: int
    luck: str
    table: Table
    notes: tuple[str, ...]


@dataclass(frozen=True)
class OwnView:
    """The section of the page."""

    source: str
    records: tuple[OwnRecordView, ...]
    notes: tuple[str, ...]


def own_view(evidence: OwnEvidence) -> OwnView:
    """The records as the page shows them."""
    records = tuple(
        OwnRecordView(
            title=each.title,
            measure=each.truth.measure,
            seeds=each.truth.truth.shape[1],
            n=len(each.families),
            n_families=each.n_families,
            replayed=len(each.replayed),
            n_rules=len(each.rules),
            luck=bare(each.luck),
            table=own_table(each, f"own-{place}"),
            notes=each.notes,
        )
        for place, each in enumerate(evidence.records)
    )
    return OwnView(evidence.source, records, evidence.notes)


def headline(record: OwnRecord) -> str:
    """Which VLMs the record speaks of, in one line."""
    truth = record.truth
    families = f" of {record.n_families} families" if record.n_families < len(record.families) else ""
    encoders = f"{len(record.families)} encoders{families}"
    return f"your truth, {record.title}: {encoders}, {truth.measure}, {n_seeds(truth.truth.shape[1])}"


def ordered(record: OwnRecord) -> list[RuleRecord]:
    """The rules, the highest correlation first; those without one last."""
    return sorted(
        record.rules, key=lambda each: (each.correlation.spearman is None, -(each.correlation.spearman or 0.0))
    )


def own_table(record: OwnRecord, key: str) -> Table:
    """The record as a table of the page: correlation, regret of the pick among all, and replayed pools."""
    sizes = sorted(record.at_random)
    columns = [
        Column("Spearman", "with your truth; small: 95% interval over encoders", best_first="descending"),
        Column("over families", "the 95% interval of Spearman when families are drawn", words=True),
        Column("encoders", "that have this score", best_first="descending"),
        *(Column(f"regret, pools of {n}", "as a share of a random pick's; small: 95% over families") for n in sizes),
        *(Column(f"first three of {n}", "how often they held the best", best_first="descending") for n in sizes[-1:]),
        Column("regret of its pick", f"among all its encoders, in {record.truth.measure}"),
        Column("its pick", words=True),
    ]
    lines = [Line(each.rule.title, tuple(_cells(each, sizes))) for each in ordered(record)]
    if sizes:
        lines.append(Line("a pick at random", tuple(_at_random(record, sizes)), "control"))
    return Table(key, "chosen by", tuple(columns), tuple(lines))


def _cells(each: RuleRecord, sizes: Sequence[int]) -> Iterable[Cell]:
    found = each.correlation
    yield correlation_cell(Figure(found.spearman, found.low, found.high))
    yield Cell(between(each.by_family) or UNKNOWN, style="l")
    yield Cell(str(found.n), sorted_by=found.n)
    yield from (share_cell(each.outcomes[size].fraction if size in each.outcomes else None) for size in sizes)
    yield from (share_cell(each.outcomes[n].first_three if n in each.outcomes else None) for n in sizes[-1:])
    yield Cell(bare(each.regret), sorted_by=each.regret)
    yield Cell(enumerated(each.picks, SHOWN_PICKS), style="l")


def _at_random(record: OwnRecord, sizes: Sequence[int]) -> Iterable[Cell]:
    yield from (Cell(UNKNOWN), Cell(UNKNOWN, style="l"), Cell(UNKNOWN))
    yield from (share_cell(record.at_random[size].fraction) for size in sizes)
    yield from (share_cell(record.at_random[n].first_three) for n in sizes[-1:])
    mean = float(record.truth.mean.max() - record.truth.mean.mean())
    yield from (Cell(bare(mean), sorted_by=mean), Cell(UNKNOWN, style="l"))


def _printed(record: OwnRecord) -> Printed:
    sizes = sorted(record.at_random)[-2:]
    table = Printed(box=SIMPLE_HEAD, pad_edge=False)
    table.add_column("chosen by", no_wrap=True)
    for head in ("Spearman", "n", *(f"regret, pools of {n}" for n in sizes), "regret of its pick"):
        table.add_column(head, justify="right", no_wrap=True)
    table.add_column("its pick")
    for each in ordered(record):
        found = each.correlation
        within = interval(each.by_family if record.n_families < len(record.families) else found)
        spearman = f"{bare(found.spearman)} {within}".rstrip()
        shares = [with_interval(each.outcomes[n].fraction) if n in each.outcomes else UNKNOWN for n in sizes]
        row = [each.rule.title, spearman, str(found.n), *shares, bare(each.regret), enumerated(each.picks, SHOWN_PICKS)]
        table.add_row(*map(Text, row))
    return table


def _rows(record: OwnRecord) -> Iterable[dict[str, object]]:
    about = {"llm": record.truth.llm, "recipe": record.truth.recipe, "about": record.about}
    for each in ordered(record):
        found = each.correlation
        yield {
            **about,
            "rule": each.rule.name,
            "n": found.n,
            "spearman": found.spearman,
            "low_over_encoders": found.low,
            "high_over_encoders": found.high,
            "low_over_families": each.by_family.low,
            "high_over_families": each.by_family.high,
            "regret_of_pick": each.regret,
            "picks": "; ".join(each.picks),
            **{key: value for size in each.outcomes for key, value in _replayed(each.outcomes[size]).items()},
        }


def _replayed(outcome: Outcome) -> dict[str, object]:
    size = outcome.size
    return {
        f"regret_{size}": outcome.regret.value,
        f"share_{size}": outcome.fraction.value,
        f"share_low_{size}": outcome.fraction.low,
        f"share_high_{size}": outcome.fraction.high,
        f"first_three_{size}": outcome.first_three.value,
    }
