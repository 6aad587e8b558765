"""The report: one HTML file with a tab for each LLM, that loads nothing and can be read without JavaScript."""

from collections.abc import Sequence
from importlib import resources
from importlib.metadata import version
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup, escape

from vlmatch.evidence.correlation import RESAMPLES, SUBSETS
from vlmatch.jobs import PairStatus
from vlmatch.probes.pairs import ProbeSet
from vlmatch.ranking import Ranking
from vlmatch.report.about import left_out, published
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
from vlmatch.report.how import made
from vlmatch.report.own import OwnEvidence, own_view
from vlmatch.report.pairs import Health, ReadEmbeddings, none_kept
from vlmatch.report.panel import panel
from vlmatch.report.record_table import record_view
from vlmatch.report.strip import coverage_strip
from vlmatch.report.table import agreement_line, number, proven_line
from vlmatch.report.words import opening, sentence

TEMPLATES = "page"


def rendered_page(
    rankings: Sequence[Ranking],
    *,
    embeddings: ReadEmbeddings = none_kept,
    failures: Sequence[PairStatus] = (),
    evidence: Sequence[RankingEvidence] = (),
    probe: ProbeSet | None = None,
    commands: Sequence[str] = (),
    own: OwnEvidence | None = None,
    health: Sequence[Health] = (),
) -> str:
    """The page for these rankings and their `evidence`.

    embeddings: reads the embeddings of each pick, which are drawn; it may return None, then they are not. failures:
    pairs that could not be scored. probe: its pictures are shown; without it, none are. commands: what computes the
    same again. own: scores against a truth of the user's. health: of each ranking, as `pool_health` gives it; none are
    shown without.
    """
    sections: list[dict[str, Any]] = []
    for place, ranking in enumerate(rankings):
        shown = probe if probe is not None and probe.key == ranking.probe else None
        panels = [
            panel(f"r{place}-{number_of}", ranking, llm, embeddings=embeddings, evidence=evidence, probe=shown)
            for number_of, llm in enumerate(ranking.llms)
        ]
        sections.append(
            {
                "ranking": ranking,
                "panels": panels,
                "record": record_view(ranking.question, f"r{place}"),
                "health": health[place] if health else None,
                "made": made(ranking.llms[0]),
                "left_out": left_out([each.row for llm in ranking.llms for each in llm.encoders]),
            }
        )
    template = _environment().get_template("page.html.j2")
    return template.render(
        sections=sections,
        failures=failures,
        commands=commands,
        own=None if own is None else own_view(own),
        subsets=list(SUBSETS),
        resamples=RESAMPLES,
        style=Markup(_resource("style.css")),
        script=Markup(_resource("page.js")),
        version=version("vlmatch"),
    )


def _environment() -> Environment:
    environment = Environment(
        loader=PackageLoader("vlmatch.report", TEMPLATES),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters.update(
        number=number, agreement=agreement_line, proven=proven_line, sentence=sentence, breakable=breakable
    )
    environment.filters.update(published=published, opening=opening, strip=coverage_strip)
    environment.filters.update(bare=bare, interval=interval, n_seeds=n_seeds, curve_words=curve_words)
    environment.filters.update(paper_line=paper_line, setting=setting_line, curve_points=curve_points)
    environment.tests["undecided"] = undecided
    environment.tests["published"] = lambda encoder: bool(published(encoder))
    return environment


def breakable(name: str) -> Markup:
    """A name that may go on in the next line behind each underscore."""
    return Markup(escape(name).replace("_", Markup("_<wbr>")))


def _resource(name: str) -> str:
    """A file of the page, which ends neither of the elements that it is put into."""
    return (resources.files("vlmatch.report") / TEMPLATES / name).read_text(encoding="utf-8")
