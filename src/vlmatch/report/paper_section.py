"""The page's table of the paper's baselines: what the paper says of each, and what this pool gives."""

from collections.abc import Sequence
from dataclasses import dataclass

from vlmatch.ranking import LlmRanking
from vlmatch.report.cells import Cell, Column, Line, Table, words_cell
from vlmatch.report.evidence import RankingEvidence
from vlmatch.report.paper import TITLES, baselines, difference


@dataclass(frozen=True)
class PaperSection:
    """The baselines, and whether this is the paper's pool, in words."""

    table: Table
    difference: str


def paper_section(llm: LlmRanking, evidence: Sequence[RankingEvidence], key: str) -> PaperSection:
    """The paper's baselines for one LLM of a ranking."""
    says = "absolute values of Pearson's and Spearman's correlation with trained VLMs, and R2"
    columns = (Column("paper says", says), Column("you get", says), Column("picks here", words=True))
    lines = [
        Line(TITLES[each.name], (Cell(str(each.paper)), Cell(str(each.here)), words_cell(", ".join(each.picks))))
        for each in baselines(llm, evidence)
    ]
    return PaperSection(Table(key, "baseline", columns, tuple(lines)), difference(llm))
