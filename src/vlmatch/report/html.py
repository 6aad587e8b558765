"""The report: one self-contained HTML page with the answer, the tables, the plots and where everything came from."""

import base64
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from vlmatch.embeddings.store import Store
from vlmatch.evidence.correlation import RESAMPLES, SUBSETS
from vlmatch.files import renamed
from vlmatch.geometry import PairedGeometry
from vlmatch.jobs import PairStatus
from vlmatch.ranking import LlmRanking, RankedEncoder, Ranking
from vlmatch.report.about import SizeClasses, pretraining, published, trained_here
from vlmatch.report.evidence import (
    RankingEvidence,
    bare,
    curve_points,
    curve_words,
    interval,
    n_seeds,
    paper_line,
    setting_line,
    undecided,
)
from vlmatch.report.plots import heat_maps, score_bars, truth_panels
from vlmatch.report.table import agreement_line, number, proven_line, relative


def write_report(
    path: Path,
    rankings: Sequence[Ranking],
    store: Store,
    failures: Sequence[PairStatus] = (),
    truths: Sequence[RankingEvidence] = (),
) -> Path:
    """Write the page for these rankings, and for what of `truths` they were held evidence.

    The geometries of each pick are read from the store. Returns `path`.
    """
    environment = Environment(
        loader=PackageLoader("vlmatch.report", "."),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters.update(number=number, agreement=agreement_line, proven=proven_line)
    environment.filters.update(pretraining=pretraining, published=published)
    environment.filters.update(bare=bare, interval=interval, n_seeds=n_seeds, curve_words=curve_words)
    environment.filters.update(paper_line=paper_line, setting=setting_line, curve_points=curve_points)
    environment.tests["trained_here"] = trained_here
    environment.tests["undecided"] = undecided
    environment.tests["published"] = lambda encoder: bool(published(encoder))
    page = environment.get_template("page.html.j2").render(
        rankings=rankings,
        llms=[[_shown(llm, store, truths) for llm in ranking.llms] for ranking in rankings],
        subsets=list(SUBSETS),
        resamples=RESAMPLES,
        failures=failures,
    )
    with renamed(path) as temporary:
        temporary.write_text(page, encoding="utf-8")
    return path


def _shown(llm: LlmRanking, store: Store, truths: Sequence[RankingEvidence]) -> dict[str, Any]:
    """What the template shows of one LLM's ranking."""
    first = llm.encoders[0]
    return {
        "ranking": llm,
        "classes": SizeClasses.of([ranked.row.image for ranked in llm.encoders]),
        "columns": [(name, first.row.scores[name]) for name in first.ranks],
        "encoders": [(ranked, _class(ranked, llm), relative(ranked.row.scores.get("gw"))) for ranked in llm.encoders],
        "bars": [Markup(score_bars(llm, name)) for name in _plotted(llm)],
        "maps": _maps(llm, store),
        "truths": [_held(evidence) for evidence in truths if evidence.llm is llm],
    }


def _held(evidence: RankingEvidence) -> dict[str, Any]:
    """What the template shows of a ranking held against the truths of one setting."""
    comparison = evidence.comparison
    best = max(comparison.pretrained, key=lambda truth: truth.mean, default=None)
    return {
        "evidence": evidence,
        "panels": Markup(truth_panels(evidence.scores, comparison.blind)),
        "best": best,
        "tier": {truth.encoder for truth in comparison.best_tier},
    }


def _plotted(llm: LlmRanking) -> list[str]:
    """The paper's score, and the one the pick came from."""
    wanted = ["gw", llm.pick.score] if llm.pick else ["gw"]
    return [name for name in dict.fromkeys(wanted) if name in llm.encoders[0].ranks]


def _class(ranked: RankedEncoder, llm: LlmRanking) -> str:
    if ranked.row.image.control:
        return "control"
    return "pick" if llm.pick is not None and llm.pick.encoder == ranked.row.encoder else ""


def _maps(llm: LlmRanking, store: Store) -> str | None:
    """The heat maps of the pick as a data address, or None where there is no pick."""
    if llm.pick is None:
        return None
    row = next(ranked.row for ranked in llm.encoders if ranked.row.encoder == llm.pick.encoder)
    images, captions = store.read(row.image.spec), store.read(row.text.spec)
    if images is None or captions is None:
        return None
    pair = PairedGeometry.angular(images.array, captions.array, n_parameters=row.image.n_parameters)
    png = heat_maps(pair, row.encoder, row.llm)
    return "data:image/png;base64," + base64.b64encode(png).decode()
