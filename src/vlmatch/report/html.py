"""The report: one self-contained HTML page with the pick, the tables, the plots and the sources."""

import base64
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from vlmatch.embeddings.header import EmbeddingSpec
from vlmatch.embeddings.store import Embeddings
from vlmatch.evidence.correlation import RESAMPLES, SUBSETS
from vlmatch.files import renamed
from vlmatch.geometry import PairedGeometry
from vlmatch.jobs import PairStatus
from vlmatch.ranking import PAPER, LlmRanking, RankedEncoder, Ranking
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
from vlmatch.report.spreadsheet import DETAILS
from vlmatch.report.table import agreement_line, number, proven_line, relative
from vlmatch.report.words import first_screen
from vlmatch.scores.rows import Row

ReadEmbeddings = Callable[[EmbeddingSpec], Embeddings | None]


def write_report(
    path: Path,
    rankings: Sequence[Ranking],
    embeddings: ReadEmbeddings,
    failures: Sequence[PairStatus] = (),
    evidence: Sequence[RankingEvidence] = (),
) -> Path:
    """Write the page for these rankings and their `evidence` to `path` in one step; returns `path`.

    embeddings: reads the embeddings of each pick, whose distances are drawn; it may return None, then they are not.
    failures: pairs that could not be scored.
    """
    page = rendered_page(rankings, embeddings, failures, evidence)
    with renamed(path) as temporary:
        temporary.write_text(page, encoding="utf-8")
    return path


def rendered_page(
    rankings: Sequence[Ranking],
    embeddings: ReadEmbeddings,
    failures: Sequence[PairStatus] = (),
    evidence: Sequence[RankingEvidence] = (),
) -> str:
    """The page as text; the arguments are those of `write_report`."""
    environment = Environment(
        loader=PackageLoader("vlmatch.report", "."),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters.update(number=number, agreement=agreement_line, proven=proven_line)
    environment.filters.update(first_screen=first_screen)
    environment.filters.update(pretraining=pretraining, published=published)
    environment.filters.update(bare=bare, interval=interval, n_seeds=n_seeds, curve_words=curve_words)
    environment.filters.update(paper_line=paper_line, setting=setting_line, curve_points=curve_points)
    environment.tests["trained_here"] = trained_here
    environment.tests["undecided"] = undecided
    environment.tests["published"] = lambda encoder: bool(published(encoder))
    return environment.get_template("page.html.j2").render(
        rankings=rankings,
        llms=[[_shown(llm, embeddings, evidence) for llm in ranking.llms] for ranking in rankings],
        subsets=list(SUBSETS),
        resamples=RESAMPLES,
        failures=failures,
    )


def _shown(llm: LlmRanking, embeddings: ReadEmbeddings, evidence: Sequence[RankingEvidence]) -> dict[str, Any]:
    """What the template shows of one LLM's ranking."""
    first = llm.encoders[0]
    return {
        "ranking": llm,
        "classes": SizeClasses.of([ranked.row.image for ranked in llm.encoders]),
        "columns": [(name, first.row.scores[name]) for name in first.ranks],
        "encoders": [
            (ranked, _class(ranked, llm), relative(ranked.row.scores.get(PAPER)), _lipschitz(ranked.row))
            for ranked in llm.encoders
        ],
        "bars": [Markup(score_bars(llm, name)) for name in _plotted(llm)],
        "maps": _maps(llm, embeddings),
        "truths": [_compared(each) for each in evidence if each.llm is llm],
    }


def _compared(evidence: RankingEvidence) -> dict[str, Any]:
    """What the template shows of a ranking compared with the truths of one setting."""
    comparison = evidence.comparison
    best = max(comparison.pretrained, key=lambda truth: truth.mean, default=None)
    return {
        "evidence": evidence,
        "panels": Markup(truth_panels(evidence.scores, comparison.blind)),
        "best": best,
        "tier": {truth.encoder for truth in comparison.best_tier},
    }


def _plotted(llm: LlmRanking) -> list[str]:
    """The scores that are plotted: GW, and those of the rule."""
    return [name for name in dict.fromkeys([PAPER, *llm.ingredients]) if name in llm.encoders[0].ranks]


def _lipschitz(row: Row) -> list[float] | None:
    """Theorem 1's bound and the measured constant, both for 99% of pairs; None in a row without these details."""
    details = row.scores[PAPER].details if PAPER in row.scores else {}
    return [float(details[name]) for name in DETAILS] if set(DETAILS) <= details.keys() else None


def _class(ranked: RankedEncoder, llm: LlmRanking) -> str:
    if ranked.row.image.control:
        return "control"
    return "pick" if llm.pick == ranked.row.encoder else ""


def _maps(llm: LlmRanking, embeddings: ReadEmbeddings) -> str | None:
    """The heat maps of the pick as a data address; None without a pick or without its embeddings."""
    if llm.pick is None:
        return None
    row = llm.ranked(llm.pick).row
    images, captions = embeddings(row.image.spec), embeddings(row.text.spec)
    if images is None or captions is None:
        return None
    pair = PairedGeometry.angular(images.array, captions.array)
    png = heat_maps(pair, row.encoder, row.llm)
    return "data:image/png;base64," + base64.b64encode(png).decode()
