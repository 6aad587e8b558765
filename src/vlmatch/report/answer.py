"""The answer: rows ranked and compared with the truth, printed, and written as a table and a report."""

from collections.abc import Collection, Mapping, Sequence
from pathlib import Path

from vlmatch.embeddings.store import Store
from vlmatch.evidence.truths import comparisons
from vlmatch.jobs import PairStatus
from vlmatch.ranking import Ranking, rank_rows
from vlmatch.report.evidence import RankingEvidence, ranking_evidence, terminal_line
from vlmatch.report.html import write_report
from vlmatch.report.spreadsheet import write_table
from vlmatch.report.table import show, terminal
from vlmatch.results import read_folders
from vlmatch.scores.rows import Row, stored_rows
from vlmatch.settings.buildable import ObjectSettings

Group = tuple[str, str, str]


def answer(
    rows: Sequence[Row],
    selection: Sequence[str],
    store: Store,
    *,
    results: Sequence[Path],
    table: str | Path | None = None,
    report: str | Path | None = None,
    failures: Sequence[PairStatus] = (),
) -> Path | None:
    """Rank `rows`, print the tables, and write them to `table` (CSV) and `report` (HTML) where these are given.

    selection: the order in which scores are asked for the pick. store: holds the embeddings of the picks, which the
    report draws. results: folders of finished trainings; those of the rankings' LLMs and encoders are compared with the
    scores. failures: pairs that could not be scored. Returns the report's path, or None if no report was written.

    Raises VlmatchError on a damaged result, after the ranking was printed.
    """
    rankings = rank_rows(rows, selection)
    console = terminal()
    show(rankings, failures, console)
    if not rankings:
        return None
    if table is not None:
        write_table(Path(table), rankings)
    evidence = evidence_in(results, rankings)
    for each in evidence:
        console.print(terminal_line(each), soft_wrap=True, highlight=False, markup=False)
    if report is None:
        return None
    written = write_report(Path(report), rankings, store.read, failures, evidence)
    console.print(f"report: {written}", soft_wrap=True)
    return written


def evidence_in(results: Sequence[Path], rankings: Sequence[Ranking]) -> list[RankingEvidence]:
    """The rankings compared with the trainings in the folders `results`; VlmatchError on a damaged result."""
    return ranking_evidence(rankings, comparisons(read_folders(results)))


def rows_of(store: Store, groups: Collection[Group], scores: Mapping[str, ObjectSettings]) -> list[Row]:
    """The stored rows of these groups that hold all of `scores` (name -> settings)."""
    probes = sorted({group[0] for group in groups})
    return [row for probe in probes for row in stored_rows(store, probe, scores) if row.group in groups]
