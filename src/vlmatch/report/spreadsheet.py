"""The ranking as a table: one row for each encoder and LLM, as a data frame and as a CSV file."""

import csv
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from vlmatch.files import renamed
from vlmatch.ranking import PAPER, LlmRanking, RankedEncoder, Ranking
from vlmatch.report.about import SizeClasses, pretraining, published, trained_here

if TYPE_CHECKING:
    import pandas as pd

DETAILS = ("lipschitz_bound_99", "lipschitz_99")  # of GW, shown beside the scores


def write_table(path: Path, rankings: Sequence[Ranking]) -> Path:
    """Write the rows of `frame(rankings)` as CSV and return the path; equal rankings give equal bytes.

    Without pandas, since importing it takes half a second.
    """
    rows = _rows(rankings)
    columns = list(dict.fromkeys(column for row in rows for column in row))
    with renamed(path) as temporary, temporary.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(columns)
        writer.writerows([_cell(row.get(column)) for column in columns] for row in rows)
    return path


def frame(rankings: Sequence[Ranking]) -> "pd.DataFrame":
    """One row for each encoder and LLM of every ranking, best first within an LLM.

    Columns: what is known of the encoder, its place and value by the rule, every score, the rank as `rank_SCORE` by
    those scores that all encoders have, and the details of GW in `DETAILS`, which are missing in rows without GW.
    """
    import pandas as pd

    return pd.DataFrame(_rows(rankings))


def harmless(value: object) -> object:
    """A cell's value; a text that a spreadsheet would take for a formula gets an apostrophe in front."""
    is_formula = isinstance(value, str) and len(value) > 1 and value[0] in "=+-@\t\r"
    return f"'{value}" if is_formula else value


def _cell(value: object) -> object:
    return f"{value:.8g}" if isinstance(value, float) else harmless(value)


def _rows(rankings: Sequence[Ranking]) -> list[dict[str, object]]:
    return [line for ranking in rankings for llm in ranking.llms for line in _lines(ranking, llm)]


def _lines(ranking: Ranking, llm: LlmRanking) -> list[dict[str, object]]:
    classes = SizeClasses.of([ranked.row.image for ranked in llm.encoders])
    names = list(dict.fromkeys(name for ranked in llm.encoders for name in ranked.row.scores))
    return [_line(ranking, llm, ranked, classes, names) for ranked in llm.encoders]


def _line(
    ranking: Ranking, llm: LlmRanking, ranked: RankedEncoder, classes: SizeClasses, names: Sequence[str]
) -> dict[str, object]:
    row = ranked.row
    about = {
        "probe": ranking.probe,
        "n_pairs": ranking.n_pairs,
        "image_recipe": ranking.image_recipe,
        "text_recipe": ranking.text_recipe,
        "llm": llm.llm,
        "encoder": row.encoder,
        "control": row.image.control,
        "pick": llm.pick == row.encoder,
        "shortlisted": llm.shortlist is not None and row.encoder in llm.shortlist.encoders,
        "place": ranked.place,
        "value": ranked.value,
        "value_deviation": ranked.deviation,
        "n_parameters": row.image.n_parameters,
        "size_class": classes.name(row.image),
        "pretraining": pretraining(row.image),
        "trained_here": trained_here(row.image),
        "published": "; ".join(published(row.encoder)),
        "dimension": row.image.dimension,
        "rule": row.image.rule,
    }
    scores = {name: row.scores[name].value if name in row.scores else None for name in names}
    ranks = {f"rank_{name}": rank for name, rank in ranked.ranks.items()}
    known = row.scores[PAPER].details if PAPER in row.scores else {}
    return {**about, **scores, **ranks, **{name: known[name] for name in DETAILS if name in known}}
