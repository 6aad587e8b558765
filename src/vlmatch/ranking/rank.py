"""Rank a pool of encoders: the order by the rule, the shortlist, and the order by every score."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from itertools import combinations

from scipy.stats import kendalltau, rankdata, spearmanr

from vlmatch.costs.candidate import CandidateCost
from vlmatch.costs.restriction import restricted
from vlmatch.errors import enumerated
from vlmatch.ranking.against import Versus, versus
from vlmatch.ranking.limits import limits
from vlmatch.ranking.opinions import opinions
from vlmatch.ranking.pool import Agreement, LlmRanking, ProvenOrders, RankedEncoder, Ranking
from vlmatch.ranking.question import Question
from vlmatch.ranking.rule import ChosenRule, standings
from vlmatch.ranking.separation import separation_refusal
from vlmatch.ranking.shortlist import Shortlist, Standing, places, shortlist
from vlmatch.scores.rows import Row
from vlmatch.settings.selection import EVIDENCE, PAPER

CLEAR = 2.0  # deviations over probe sets by which a score is clearly ahead of its noise twin


def rank_rows(
    rows: Iterable[Row], question: Question, costs: Mapping[str, CandidateCost], captions: Sequence[str] = ()
) -> list[Ranking]:
    """Rank rows: one Ranking for each probe and pair of embedding recipes among them, in their order by name.

    costs: of every encoder, by name. captions: of the pairs, if they are known. Encoders are ranked for one LLM at a
    time, because GW has the unit of the LLM's distances. Raises VlmatchError if `question.against` is not among the
    candidates, or if `question.selection` is neither a rule nor a score.
    """
    groups: dict[tuple[str, str, str], list[Row]] = {}
    for row in rows:
        groups.setdefault(row.group, []).append(row)
    return [_ranking(group, members, question, costs, captions) for group, members in sorted(groups.items())]


def _ranking(
    group: tuple[str, str, str],
    rows: list[Row],
    question: Question,
    costs: Mapping[str, CandidateCost],
    captions: Sequence[str],
) -> Ranking:
    llms = tuple(
        _llm_ranking(llm, [row for row in rows if row.llm == llm], question, costs, captions)
        for llm in sorted({r.llm for r in rows})
    )
    rules = sorted({row.image.rule for row in rows if not row.image.control})
    warnings = (
        [f"the encoders use different feature rules ({'; '.join(rules)}), which may cause part of their differences"]
        if len(rules) > 1
        else []
    )
    return Ranking(*group, rows[0].image.spec.n_pairs, question, llms, tuple(_agreements(llms)), tuple(warnings))


def _llm_ranking(
    llm: str,
    rows: list[Row],
    question: Question,
    costs: Mapping[str, CandidateCost],
    captions: Sequence[str],
) -> LlmRanking:
    names = [name for name in rows[0].scores if all(name in row.scores for row in rows)]
    ranks = {name: _ranks(name, rows) for name in names}
    by_encoder = {
        row.encoder: RankedEncoder(row, {name: ranks[name][index] for name in names}, costs[row.encoder])
        for index, row in enumerate(rows)
    }
    candidates = [row for row in rows if not row.image.control]
    controls = sorted((row for row in rows if row.image.control), key=lambda row: row.encoder)
    chosen = ChosenRule.of(question, candidates or rows)
    ordered, notes = standings(chosen, candidates) if candidates else ([], [])
    found = _placed(ordered, by_encoder, chosen)
    budget = restricted(question.budget, {each.encoder: each.value for each in ordered}, costs)
    inside = [each for each in ordered if each.encoder in budget.inside]
    listed, refusal = _listed(chosen, inside, candidates, controls)
    return LlmRanking(
        llm=llm,
        encoders=(*found, *(by_encoder[row.encoder] for row in controls)),
        world=chosen.world,
        rule=chosen.words,
        ingredients=chosen.ingredients,
        shortlist=listed,
        refusal=refusal,
        opinions=opinions(candidates, chosen.world, chosen.kind) if candidates else (),
        against=_versus(question, ordered, chosen),
        budget=budget,
        limits=limits(candidates, chosen.world, captions) if candidates and question.selection == EVIDENCE else (),
        warnings=(*notes, *_warnings(candidates, controls, chosen)),
        controls_last={name: _controls_last(name, list(by_encoder.values())) for name in names},
        proven_orders=_proven_orders(rows),
    )


def _placed(
    ordered: Sequence[Standing], by_encoder: dict[str, RankedEncoder], chosen: ChosenRule
) -> list[RankedEncoder]:
    calibration = chosen.calibration(len(ordered)) if ordered else None
    margin = calibration.margin if calibration else 0.0
    return [
        replace(by_encoder[each.encoder], value=each.value, deviation=each.deviation_from(ordered[0]), place=place)
        for each, place in zip(ordered, places(ordered, margin), strict=True)
    ]


def _listed(
    chosen: ChosenRule, inside: Sequence[Standing], candidates: Sequence[Row], controls: Sequence[Row]
) -> tuple[Shortlist | None, str | None]:
    """The shortlist, or why there is none."""
    if not candidates:
        return None, "the pool has no pretrained encoder"
    if not inside:
        return None, "no candidate meets the budget"
    if chosen.refusal:
        return None, chosen.refusal
    if chosen.calibrated and (why := separation_refusal(candidates, controls, chosen.ingredients)):
        return None, why
    return shortlist(inside, chosen.calibration(len(inside))), None


def _versus(question: Question, ordered: Sequence[Standing], chosen: ChosenRule) -> tuple[Versus, ...]:
    if question.against is None or not ordered:
        return ()
    return versus(question.against, ordered, chosen.against_margin(len(ordered)))


def _warnings(candidates: Sequence[Row], controls: Sequence[Row], chosen: ChosenRule) -> list[str]:
    """The warnings about the pool.

    They say that it has no control, that a control is ahead of candidates by a score of the rule, or that no candidate
    is better than noise by a score of the rule.
    """
    if not candidates:
        return []
    void = [line for name in chosen.ingredients if (line := _void(candidates, name))]
    if not controls:
        return ["the pool has no control, so nothing shows what encoders without knowledge would score", *void]
    return [line for name in chosen.ingredients if (line := _outranked(candidates, controls, name, chosen))] + void


def _void(candidates: Sequence[Row], name: str) -> str | None:
    """The warning that by this score no candidate is ahead of its noise twin; None if one is, or there are no twins."""
    scored = [row.scores[name] for row in candidates if name in row.scores]
    leads = [
        (each.value - each.noise) * (1 if each.higher_is_better else -1) - CLEAR * (each.deviation or 0.0)
        for each in scored
        if each.noise is not None and "pairing" in each.uses
    ]
    if not leads or max(leads) > 0:
        return None
    return (
        f"by {scored[0].title} no candidate fits the captions better than noise of its own mean and covariance, so "
        "this score's order says nothing; give more pairs, or captions that say more"
    )


def _outranked(candidates: Sequence[Row], controls: Sequence[Row], name: str, chosen: ChosenRule) -> str | None:
    """The warning that the best control outranks candidates by one ingredient of the rule; None if it outranks none.

    If the rule has several ingredients, only those that use images count: a control may have many tokens.
    """
    compared = [row for row in controls if name in row.scores]
    if not compared:
        return None
    best = max(compared, key=lambda row: row.scores[name].goodness)
    scored = best.scores[name]
    if len(chosen.ingredients) > 1 and "images" not in scored.uses:
        return None
    beaten = [
        row.encoder for row in candidates if name in row.scores and row.scores[name].goodness <= scored.goodness
    ]  # a tie counts as beaten
    if not beaten:
        return None
    return (
        f"by {scored.title} the control '{best.encoder}' outranks {len(beaten)} of {len(candidates)} candidates "
        f"({enumerated(beaten)})"
    )


def _ranks(name: str, rows: list[Row]) -> list[int]:
    return [int(place) for place in rankdata([-row.scores[name].goodness for row in rows], method="min")]


def _controls_last(name: str, encoders: Sequence[RankedEncoder]) -> bool:
    """Whether every control ranks behind every pretrained encoder; a tie does not count as behind."""
    controls = [ranked.ranks[name] for ranked in encoders if ranked.row.image.control]
    pretrained = [ranked.ranks[name] for ranked in encoders if not ranked.row.image.control]
    return not controls or not pretrained or min(controls) > max(pretrained)


def _proven_orders(rows: list[Row]) -> ProvenOrders | None:
    scored = [row.scores[PAPER] for row in rows if PAPER in row.scores and not row.image.control]
    intervals = [
        (float(score.details["lower_bound"]), score.value) for score in scored if "lower_bound" in score.details
    ]
    pairs = list(combinations(sorted(intervals, key=lambda interval: interval[1]), 2))
    return ProvenOrders(sum(low[1] < high[0] for low, high in pairs), len(pairs)) if pairs else None


def _agreements(llms: Sequence[LlmRanking]) -> Iterable[Agreement]:
    for one, other in combinations(llms, 2):
        values = [
            {row.encoder: row.scores[PAPER].value for row in rows if PAPER in row.scores}
            for rows in ([ranked.row for ranked in llm.encoders] for llm in (one, other))
        ]
        both = sorted(values[0].keys() & values[1].keys())
        if len(both) >= 3:
            x, y = ([value[encoder] for encoder in both] for value in values)
            if len(set(x)) == 1 or len(set(y)) == 1:
                continue  # equal values have no order
            spearman, kendall = float(spearmanr(x, y).statistic), float(kendalltau(x, y).statistic)
            yield Agreement((one.llm, other.llm), len(both), spearman, kendall)
