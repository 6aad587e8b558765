"""The report: one self-contained HTML page with the answer, the tables, the plots and where everything came from."""

import base64
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from vlmatch.embeddings.store import Store
from vlmatch.files import renamed
from vlmatch.geometry import PairedGeometry
from vlmatch.outcomes import Outcome
from vlmatch.report.about import SizeClasses, pretraining, published, trained_here
from vlmatch.report.plots import heat_maps, score_bars
from vlmatch.report.ranking import LlmRanking, Ranking, Standing
from vlmatch.report.table import agreement_line, number, relative, settled_line


def write_report(path: Path, rankings: Sequence[Ranking], store: Store, failures: Sequence[Outcome] = ()) -> Path:
    """Write the page for these rankings; the geometries of each pick are read from the store. Returns `path`."""
    environment = Environment(
        loader=PackageLoader("vlmatch.report", "."),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters.update(number=number, agreement=agreement_line, settled=settled_line)
    environment.filters.update(pretraining=pretraining, published=published)
    environment.tests["trained_here"] = trained_here
    environment.tests["published"] = lambda encoder: bool(published(encoder))
    page = environment.get_template("page.html.j2").render(
        rankings=rankings,
        llms=[[_shown(llm, store) for llm in ranking.llms] for ranking in rankings],
        failures=failures,
    )
    with renamed(path) as temporary:
        temporary.write_text(page, encoding="utf-8")
    return path


def _shown(llm: LlmRanking, store: Store) -> dict[str, Any]:
    """What the template shows of one LLM's ranking."""
    first = llm.standings[0]
    return {
        "ranking": llm,
        "classes": SizeClasses.of([standing.row.image for standing in llm.standings]),
        "columns": [(name, first.row.scores[name]) for name in first.ranks],
        "standings": [
            (standing, _class(standing, llm), relative(standing.row.scores.get("gw"))) for standing in llm.standings
        ],
        "bars": [Markup(score_bars(llm, name)) for name in _plotted(llm)],
        "maps": _maps(llm, store),
    }


def _plotted(llm: LlmRanking) -> list[str]:
    """The paper's score, and the one the pick came from."""
    wanted = ["gw", llm.pick.score] if llm.pick else ["gw"]
    return [name for name in dict.fromkeys(wanted) if name in llm.standings[0].ranks]


def _class(standing: Standing, llm: LlmRanking) -> str:
    if standing.row.image.control:
        return "control"
    return "pick" if llm.pick is not None and llm.pick.encoder == standing.row.encoder else ""


def _maps(llm: LlmRanking, store: Store) -> str | None:
    """The heat maps of the pick as a data address, or None where there is no pick."""
    if llm.pick is None:
        return None
    row = next(standing.row for standing in llm.standings if standing.row.encoder == llm.pick.encoder)
    images, captions = store.read(row.image.recipe), store.read(row.text.recipe)
    if images is None or captions is None:
        return None
    pair = PairedGeometry.angular(images.array, captions.array, n_parameters=row.image.n_parameters)
    png = heat_maps(pair, row.encoder, row.llm)
    return "data:image/png;base64," + base64.b64encode(png).decode()
