"""The ranking as a CSV: one line an encoder and LLM, for whatever reads tables."""

from collections.abc import Sequence
from pathlib import Path

import pandas as pd

from vlmatch.ranking import LlmRanking, RankedEncoder, Ranking
from vlmatch.report.about import SizeClasses, pretraining, published, trained_here


def write_table(path: Path, rankings: Sequence[Ranking]) -> Path:
    """Write every ranked of every ranking, best first within an LLM; the same rankings are the same bytes."""
    lines = [line for ranking in rankings for llm in ranking.llms for line in _lines(ranking, llm)]
    path.parent.mkdir(parents=True, exist_ok=True)
    pd.DataFrame(lines).to_csv(path, index=False, float_format="%.8g", lineterminator="\n")
    return path


def _lines(ranking: Ranking, llm: LlmRanking) -> list[dict[str, object]]:
    classes = SizeClasses.of([ranked.row.image for ranked in llm.encoders])
    return [_line(ranking, llm, ranked, classes) for ranked in llm.encoders]


def _line(ranking: Ranking, llm: LlmRanking, ranked: RankedEncoder, classes: SizeClasses) -> dict[str, object]:
    row = ranked.row
    about = {
        "probe": ranking.probe,
        "n_pairs": ranking.n_pairs,
        "image_recipe": ranking.image_recipe,
        "text_recipe": ranking.text_recipe,
        "llm": llm.llm,
        "encoder": row.encoder,
        "control": row.image.control,
        "pick": llm.pick is not None and llm.pick.encoder == row.encoder,
        "n_parameters": row.image.n_parameters,
        "size_class": classes.name(row.image),
        "pretraining": pretraining(row.encoder),
        "trained_here": trained_here(row.encoder),
        "published": "; ".join(published(row.encoder)),
        "dimension": row.image.dimension,
        "rule": row.image.rule,
    }
    scores = {name: row.scores[name].value for name in ranked.ranks}
    return {**about, **scores, **{f"rank_{name}": rank for name, rank in ranked.ranks.items()}}
