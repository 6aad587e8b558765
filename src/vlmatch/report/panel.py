"""What the page shows of one LLM: a view for each section, and None for what can't be shown."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from markupsafe import Markup

from vlmatch.costs.pareto import priced
from vlmatch.geometry import PairedGeometry
from vlmatch.probes.pairs import ProbeSet
from vlmatch.ranking import LlmRanking, Question, Ranking
from vlmatch.report.cells import Table
from vlmatch.report.evidence import RankingEvidence
from vlmatch.report.first_screen import FirstScreen, first_screen
from vlmatch.report.pairs import LabelValues, Pairs, ReadEmbeddings, label_values, worst_and_best
from vlmatch.report.paper_section import PaperSection, paper_section
from vlmatch.report.pareto import PRICES, pareto_plot
from vlmatch.report.plots import heat_maps, truth_panels
from vlmatch.report.ranking_table import ranking_table, score_table
from vlmatch.report.svg import themed
from vlmatch.settings.selection import PAPER_RULE


@dataclass(frozen=True)
class Panel:
    """One LLM's tab.

    key: its identifier in the page. maps: heat maps of the pick's image distances and of the caption distances. pairs,
    labels: None without the probe's pairs or the embeddings; labels also if the pairs have no labels. paper: None
    unless GW orders the pool as in the paper.
    """

    key: str
    llm: LlmRanking
    screen: FirstScreen
    ranking: Table
    scores: Table
    maps: tuple[str, str] | None
    pairs: Pairs | None
    labels: LabelValues | None
    truths: tuple[dict[str, Any], ...]
    paper: PaperSection | None
    costs: tuple[Markup, ...]


def panel(
    key: str,
    ranking: Ranking,
    llm: LlmRanking,
    *,
    embeddings: ReadEmbeddings,
    evidence: Sequence[RankingEvidence],
    probe: ProbeSet | None,
) -> Panel:
    """What the page shows of one LLM of a ranking; the arguments are those of `rendered_page`."""
    pair = _pair(llm, embeddings)
    held = [each for each in evidence if each.llm is llm]
    return Panel(
        key=key,
        llm=llm,
        screen=first_screen(llm, ranking.question),
        ranking=ranking_table(llm, f"{key}-ranking-table"),
        scores=score_table(llm, f"{key}-score-table"),
        maps=heat_maps(pair) if pair is not None else None,
        pairs=worst_and_best(pair, probe) if pair is not None and probe is not None else None,
        labels=label_values(llm, embeddings, probe.labels, f"{key}-label-table") if probe is not None else None,
        costs=_over_costs(llm, ranking.question, key),
        paper=paper_section(llm, evidence, f"{key}-paper-table") if ranking.question.selection == PAPER_RULE else None,
        truths=tuple(_compared(each, f"{key}-truth{place}") for place, each in enumerate(held)),
    )


def _pair(llm: LlmRanking, embeddings: ReadEmbeddings) -> PairedGeometry | None:
    """The geometry of the pick; None without a pick or without its embeddings."""
    if llm.pick is None:
        return None
    row = llm.ranked(llm.pick).row
    images, captions = embeddings(row.image.spec), embeddings(row.text.spec)
    if images is None or captions is None:
        return None
    return PairedGeometry.angular(images.array, captions.array)


def _over_costs(llm: LlmRanking, question: Question, key: str) -> tuple[Markup, ...]:
    """Plots of the value over each price that is known for two candidates or more; tokens only if fed all patches."""
    values = {each.row.encoder: each.value for each in llm.encoders if each.value is not None}
    costs = {each.row.encoder: each.cost for each in llm.encoders}
    asked = [price for price in PRICES if price != "tokens" or question.fed == "patches"]
    return tuple(
        themed(pareto_plot(values, costs, price, picked=llm.pick), f"{key}-{price}", f"value over {PRICES[price][0]}")
        for price in asked
        if len(priced(values, costs, [price])) > 1
    )


def _compared(evidence: RankingEvidence, key: str) -> dict[str, Any]:
    """What the template shows of a ranking compared with the truths of one setting."""
    comparison = evidence.comparison
    return {
        "evidence": evidence,
        "panels": truth_panels([score for score in evidence.scores if "images" in score.uses], comparison.blind, key),
        "best": max(comparison.pretrained, key=lambda truth: truth.mean, default=None),
        "tier": {truth.encoder for truth in comparison.best_tier},
    }
