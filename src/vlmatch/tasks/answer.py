"""The answer: rows ranked by one function, shown in the terminal and written as a table and a report."""

from collections.abc import Collection, Sequence
from pathlib import Path

from omegaconf import DictConfig

from vlmatch.embeddings.store import Store
from vlmatch.objects import plain
from vlmatch.outcomes import Outcome
from vlmatch.report.html import write_report
from vlmatch.report.ranking import rank
from vlmatch.report.spreadsheet import write_table
from vlmatch.report.table import show, terminal
from vlmatch.scores.rows import Row, stored_rows

Group = tuple[str, str, str]


def answer(config: DictConfig, rows: Sequence[Row], failures: Sequence[Outcome] = ()) -> Path | None:
    """Rank `rows`, print the tables, write `answer.table` and `answer.report`; returns the report's path, if any."""
    rankings = rank(rows, config.selection)
    console = terminal()
    show(rankings, failures, console)
    if not rankings:
        return None
    if config.answer.table is not None:
        write_table(Path(config.answer.table), rankings)
    if config.answer.report is None:
        return None
    report = write_report(Path(config.answer.report), rankings, Store(config.store), failures)
    console.print(f"report: {report}", soft_wrap=True)
    return report


def rows_of(config: DictConfig, groups: Collection[Group]) -> list[Row]:
    """The stored rows of these groups that hold the scores of this config."""
    store, scores, allowed = Store(config.store), plain(config.score), tuple(config.targets)
    probes = sorted({group[0] for group in groups})
    return [row for probe in probes for row in stored_rows(store, probe, scores, allowed) if row.group in groups]
