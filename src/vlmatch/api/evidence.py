"""Scores against the results of VLMs that the user trained, or that others published."""

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, TypeAlias, Union

from vlmatch.errors import VlmatchError
from vlmatch.evidence.own.cells import read_truth
from vlmatch.evidence.own.names import Names
from vlmatch.evidence.own.scores import read_scores
from vlmatch.report.answer import PoolRanking, answer
from vlmatch.report.own import OwnEvidence, tables_of
from vlmatch.settings.work import AnswerSettings, StudySettings

if TYPE_CHECKING:
    import pandas as pd

Table: TypeAlias = Union[str, Path, "pd.DataFrame"]
"""A data frame, or the path of a CSV, TSV or Excel file."""


def evidence_of(scores: PoolRanking | Table, truth: Table, *, names: Table | None = None) -> OwnEvidence:
    """How well scores predict the truth: correlations, regrets of their picks, and choices replayed in pools.

    Parameters
    ----------
    scores
        A ranking (`rank`, `rank_stored`), or a table with the columns `encoder`, optionally `llm` and `family`, and one
        for each score. A column that is named after one of our scores has the direction of that score. In any other
        column more is better, unless its name starts with '-'. The catalogue adds the spec sheet of encoders it knows.
    truth
        A table with the columns `encoder, llm, benchmark, score`, optionally `seed` and `recipe`; more is better. Or a
        result file of lmms-eval, the summary of VLMEvalKit, or a folder of result files of either.
    names
        A table with the columns `their_name, encoder`, optionally `llm` and `seed`, that says what the names in the
        truth stand for. Names from the published tables that come with vlmatch are known already.

    Returns
    -------
    OwnEvidence
        A value that prints as tables, and has `records`, `notes`, `to_frame()` and `report(path)`. `notes` say what was
        left out: rows without a number, rows that contradict each other, encoders without scores.

    Raises
    ------
    VlmatchError
        If nothing is left to compare: fewer than 4 encoders, equal truths, no common names, no such file.

    Examples
    --------
    >>> import pandas as pd, vlmatch
    >>> names = ["a", "b", "c", "d", "e"]
    >>> scores = pd.DataFrame({"encoder": names, "ridge_r2": [0.1, 0.2, 0.3, 0.5, 0.4]})
    >>> truth = pd.DataFrame({"encoder": names, "llm": "mine", "benchmark": "gqa", "score": [50, 52, 55, 61, 60]})
    >>> found = vlmatch.evidence_of(scores, truth).to_frame()
    >>> found[["rule", "n", "spearman", "regret_of_pick", "picks"]].values.tolist()
    [['ridge_r2', 5, 1.0, 0.0, 'd']]
    """
    known = Names.of(_place(names) if names is not None else None)
    found = read_truth(_place(truth), known)
    tables = tables_of(scores.rankings) if isinstance(scores, PoolRanking) else read_scores(_place(scores), known)
    return OwnEvidence.of(found, tables)


def require_used(study: StudySettings, *, scores: bool = False) -> None:
    """Raise VlmatchError if a key of `study` would not be read. scores: whether the task reads `study.scores`."""
    for key, value in (("scores", study.scores), ("names", study.names)):
        if value is not None and study.truth is None:
            raise VlmatchError(f"study.{key}={value}, but study.truth=null; give the truth: study.truth=FILE")
    if study.scores is not None and not scores:
        raise VlmatchError(
            f"study.scores={study.scores}, but only task=report reads it; add task=report, or leave it out"
        )


def with_truth(ranking: PoolRanking, study: StudySettings) -> PoolRanking:
    """The ranking with its record against `study.truth`; the unchanged ranking if there is no truth.

    If the truth can't be compared with these scores, a note says so. Raises VlmatchError if the truth can't be read.
    """
    if study.truth is None or not ranking.rankings:
        return ranking
    found = read_truth(study.truth, Names.of(study.names))
    try:
        own = OwnEvidence.of(found, tables_of(ranking.rankings))
    except VlmatchError as error:
        own = OwnEvidence(found.source, (), (*found.notes, str(error)))
    return replace(ranking, own=own)


def answered(ranking: PoolRanking, asked: AnswerSettings, study: StudySettings) -> tuple[PoolRanking, Path | None]:
    """Print and write the answer as settings say; returns the ranking with its truth, and the report's path."""
    ranking = with_truth(replace(ranking, truth=asked.truth), study)
    return ranking, answer(ranking, table=asked.table, report=asked.report, full=asked.full, by=asked.by)


def _place(table: Table) -> "Path | pd.DataFrame":
    return Path(table).expanduser() if isinstance(table, str | Path) else table
