"""The answer for a pool of encoders: an order, a shortlist, and what is known about how far to trust it."""

from vlmatch.ranking.pool import (
    Agreement,
    LlmRanking,
    Opinion,
    ProvenOrders,
    RankedEncoder,
    Ranking,
)
from vlmatch.ranking.question import Question
from vlmatch.ranking.rank import rank_rows
from vlmatch.ranking.shortlist import Shortlist
from vlmatch.settings.selection import PAPER
from vlmatch.settings.work import Fed

__all__ = [
    "PAPER",
    "Agreement",
    "Fed",
    "LlmRanking",
    "Opinion",
    "ProvenOrders",
    "Question",
    "RankedEncoder",
    "Ranking",
    "Shortlist",
    "rank_rows",
]
