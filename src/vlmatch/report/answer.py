"""The answer: rows ranked and held against the truth, shown in the terminal and written as a table and a report."""

from collections.abc import Collection, Sequence
from pathlib import Path

from omegaconf import DictConfig

from vlmatch import paths
from vlmatch.embeddings.store import Store
from vlmatch.evidence.truths import comparisons
from vlmatch.jobs import PairStatus
from vlmatch.objects import plain
from vlmatch.ranking import rank_rows
from vlmatch.report.evidence import ranking_evidence, terminal_line
from vlmatch.report.html import write_report
from vlmatch.report.spreadsheet import write_table
from vlmatch.report.table import show, terminal
from vlmatch.results import read
from vlmatch.scores.rows import Row, stored_rows

Group = tuple[str, str, str]


def answer(config: DictConfig, rows: Sequence[Row], failures: Sequence[PairStatus] = ()) -> Path | None:
    """Rank `rows`, print the tables, write `answer.table` and `answer.report`; returns the report's path, if any.

    Where `results` holds trainings of the rankings' LLMs and encoders, their truths stand beside the scores.
    """
    rankings = rank_rows(rows, config.selection)
    console = terminal()
    show(rankings, failures, console)
    if not rankings:
        return None
    if config.answer.table is not None:
        write_table(Path(config.answer.table), rankings)
    truths = ranking_evidence(rankings, comparisons(read(results_folder(config))))
    for evidence in truths:
        console.print(terminal_line(evidence), soft_wrap=True, highlight=False, markup=False)
    if config.answer.report is None:
        return None
    report = write_report(Path(config.answer.report), rankings, Store(config.store), failures, truths)
    console.print(f"report: {report}", soft_wrap=True)
    return report


def results_folder(config: DictConfig) -> Path:
    """Where finished trainings lie: `results` of the config, else the folder that comes with vlmatch."""
    return Path(config.get("results") or paths.results())


def rows_of(config: DictConfig, groups: Collection[Group]) -> list[Row]:
    """The stored rows of these groups that hold the scores of this config."""
    store, scores = Store(config.store), plain(config.score)
    probes = sorted({group[0] for group in groups})
    return [row for probe in probes for row in stored_rows(store, probe, scores) if row.group in groups]
