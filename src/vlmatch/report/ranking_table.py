"""The page's ranking: places and values with the scores that made them, and a second table of every score."""

from collections.abc import Mapping
from typing import Any

from markupsafe import Markup

from vlmatch.ranking import PAPER, LlmRanking, RankedEncoder
from vlmatch.report.about import SizeClasses, pretraining, trained_here
from vlmatch.report.cells import (
    UNKNOWN,
    Cell,
    Column,
    Line,
    Table,
    figure_cell,
    known_columns,
    score_cell,
    score_column,
    words_cell,
)
from vlmatch.report.spreadsheet import DETAILS
from vlmatch.report.table import number, relative

BASELINE = "participation_ratio"  # orders encoders without captions, so it stands beside every score
STRIP, MARGIN = 84, 3  # pixels: the width of the drawing of a value, and what is left free at its ends


def ranking_table(llm: LlmRanking, key: str) -> Table:
    """Places, values, the rule's scores, GW, the baseline, and what each encoder costs."""
    known = llm.scored
    names = [name for name in dict.fromkeys((*llm.ingredients, PAPER, BASELINE)) if name in known]
    columns = [
        Column("place", "candidates that the rule can't distinguish share a place"),
        Column("value", "the mean fractional rank by the rule's scores; 1 is the best", best_first="descending"),
        *(score_column(known[name]) for name in names),
        Column("params", "parameters of the vision side"),
        Column("GFLOPs", "for one image"),
        Column("tokens", "that the LLM is fed for one image, if it is fed all patches"),
        Column("images/s", "as measured while embedding", best_first="descending"),
        Column("licence", words=True),
        Column("than yours", "against the encoder that you have now", words=True),
    ]
    judged = {each.encoder: each.judgement for each in llm.against}
    heads = _first_of_place(llm)
    lines = [
        Line(
            shown_name(each),
            (
                _place(each, each.row.encoder in heads),
                _value(each),
                *(score_cell(each.row.scores.get(name)) for name in names),
                Cell(number(each.cost.parameters), sorted_by=each.cost.parameters),
                figure_cell(each.cost.gflops, ".2f"),
                figure_cell(each.cost.tokens),
                figure_cell(each.cost.images_per_second, ",.1f"),
                words_cell(each.cost.licence),
                words_cell(judged.get(each.row.encoder)),
            ),
            _style(llm, each, each.row.encoder in heads),
        )
        for each in llm.encoders
    ]
    return known_columns(Table(key, "encoder", tuple(columns), tuple(lines)))


def score_table(llm: LlmRanking, key: str) -> Table:
    """Every score of each encoder with its deviation, its rank and its noise twin, and what is known of the encoder."""
    known, classes = llm.scored, SizeClasses.of([each.row.image for each in llm.encoders])
    lipschitz = any(set(DETAILS) <= _details(each).keys() for each in llm.encoders)
    columns = [score_column(scored, controls_last=llm.controls_last.get(name, True)) for name, scored in known.items()]
    if PAPER in known:
        columns.append(Column("GW rel.", "sqrt(E / median caption angle): the only form that compares across LLMs"))
    if lipschitz:
        columns.append(Column("Lipschitz ≤", "theorem 1's bound for 99% of pairs, and the measured factor"))
    columns += [
        Column("feature", words=True),
        Column("width"),
        Column("size", str(classes), words=True),
        Column("pretraining", words=True),
    ]
    lines = []
    for each in llm.encoders:
        cells = [score_cell(each.row.scores.get(name), _beside(each, name)) for name in known]
        cells += [Cell(relative(each.row.scores.get(PAPER)))] if PAPER in known else []
        cells += [_lipschitz(each)] if lipschitz else []
        image = each.row.image
        cells += [words_cell(image.rule), figure_cell(image.dimension, "d")]
        cells += [words_cell(classes.name(image)), words_cell(pretraining(image))]
        lines.append(Line(shown_name(each), tuple(cells), _style(llm, each, head=False)))
    return Table(key, "encoder", tuple(columns), tuple(lines))


def shown_name(ranked: RankedEncoder) -> str:
    """The encoder's name, which says if it is a control or was trained here."""
    name = ranked.row.encoder
    return name + (
        " (control)" if ranked.row.image.control else " (trained here)" if trained_here(ranked.row.image) else ""
    )


def _first_of_place(llm: LlmRanking) -> set[str]:
    """The first encoder of each place, and of the controls."""
    found: dict[int | None, str] = {}
    for each in llm.encoders:
        found.setdefault(each.place, each.row.encoder)
    return set(found.values())


def _style(llm: LlmRanking, ranked: RankedEncoder, head: bool) -> str:
    name = ranked.row.encoder
    listed = llm.shortlist is not None and name in llm.shortlist.encoders
    outside = not ranked.row.image.control and name not in llm.budget.inside
    found = {"head": head, "listed": listed, "control": ranked.row.image.control, "outside": outside}
    return " ".join(word for word, is_so in found.items() if is_so)


def _place(ranked: RankedEncoder, head: bool) -> Cell:
    if ranked.place is None:
        return Cell(UNKNOWN)
    return Cell(str(ranked.place), sorted_by=ranked.place, style="" if head else "same")


def _value(ranked: RankedEncoder) -> Cell:
    if ranked.value is None:
        return Cell(UNKNOWN)
    within = STRIP - 2 * MARGIN
    low, at, high = (
        MARGIN + within * min(1.0, max(0.0, ranked.value + side * (ranked.deviation or 0.0))) for side in (-1, 0, 1)
    )
    strip = (
        f'<svg class="strip" viewBox="0 0 {STRIP} 12" aria-hidden="true"><line class="track" x1="{MARGIN}" y1="6" '
        f'x2="{STRIP - MARGIN}" y2="6"/><line class="reach" x1="{low:.1f}" y1="6" x2="{high:.1f}" y2="6"/>'
        f'<circle class="dot" cx="{at:.1f}" cy="6" r="3"/></svg>'
    )
    small = "" if ranked.deviation is None else f"± {ranked.deviation:.2f}"
    return Cell(Markup(strip) + f"{ranked.value:.2f}", small, ranked.value)


def _beside(ranked: RankedEncoder, name: str) -> list[str]:
    """The rank by a score and its value for noise, in words."""
    found = [f"rank {ranked.ranks[name]}"] if name in ranked.ranks else []
    scored = ranked.row.scores.get(name)
    return [*found, f"noise {number(scored.noise)}"] if scored is not None and scored.noise is not None else found


def _details(ranked: RankedEncoder) -> Mapping[str, Any]:
    return ranked.row.scores[PAPER].details if PAPER in ranked.row.scores else {}


def _lipschitz(ranked: RankedEncoder) -> Cell:
    bound, measured = (_details(ranked).get(name) for name in DETAILS)
    if bound is None or measured is None:
        return Cell(UNKNOWN)
    return Cell(number(bound), number(measured), bound)
