"""Rank a pool of encoders: the order by every score, the check by the controls, and the pick."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations

from scipy.stats import kendalltau, rankdata, spearmanr

from vlmatch.scores.rows import Row

PAPER = "gw"  # the paper's score


@dataclass(frozen=True)
class Pick:
    """The recommended encoder, and the name and title of the score that recommends it."""

    encoder: str
    score: str
    title: str


@dataclass(frozen=True)
class RankedEncoder:
    """One encoder's row and its rank by every score; 1 is the best, and ties share the better rank."""

    row: Row
    ranks: Mapping[str, int]


@dataclass(frozen=True)
class ProvenOrders:
    """How many orders between two pretrained encoders by GW are proven, out of how many.

    The solver finds a local optimum, and the global one lies between the lower bound and that. If the intervals of two
    encoders do not overlap, no better solver would change their order.
    """

    n_proven: int
    n_orders: int


@dataclass(frozen=True)
class LlmRanking:
    """The encoders of a pool for one LLM, best first by the first score of `selection`.

    trusted: by score, whether every control ranks behind every pretrained encoder. pick: None if no score is trusted.
    """

    llm: str
    encoders: tuple[RankedEncoder, ...]
    trusted: Mapping[str, bool]
    pick: Pick | None
    warnings: tuple[str, ...]
    proven_orders: ProvenOrders | None


@dataclass(frozen=True)
class Agreement:
    """How similarly two LLMs order the encoders that both have, by GW: Spearman's and Kendall's rank correlation."""

    llms: tuple[str, str]
    n_encoders: int
    spearman: float
    kendall: float


@dataclass(frozen=True)
class Ranking:
    """The rankings for one probe and one pair of embedding recipes, by LLM."""

    probe: str
    image_recipe: str
    text_recipe: str
    n_pairs: int
    llms: tuple[LlmRanking, ...]
    agreements: tuple[Agreement, ...]
    warnings: tuple[str, ...]


def rank_rows(rows: Iterable[Row], selection: Sequence[str]) -> list[Ranking]:
    """Rank rows: one Ranking for each probe and pair of embedding recipes among them, in their order by name.

    selection: names of scores. The pick comes from the first one that is trusted. Encoders are ranked for one LLM at a
    time, because GW has the unit of the LLM's distances.
    """
    groups: dict[tuple[str, str, str], list[Row]] = {}
    for row in rows:
        groups.setdefault(row.group, []).append(row)
    return [_ranking(group, members, selection) for group, members in sorted(groups.items())]


def _ranking(group: tuple[str, str, str], rows: list[Row], selection: Sequence[str]) -> Ranking:
    llms = tuple(
        _llm_ranking(llm, [row for row in rows if row.llm == llm], selection) for llm in sorted({r.llm for r in rows})
    )
    rules = sorted({row.image.rule for row in rows if not row.image.control})
    warnings = (
        [f"the encoders use different feature rules ({', '.join(rules)}), which may cause part of their differences"]
        if len(rules) > 1
        else []
    )
    return Ranking(*group, rows[0].image.spec.n_pairs, llms, tuple(_agreements(llms)), tuple(warnings))


def _llm_ranking(llm: str, rows: list[Row], selection: Sequence[str]) -> LlmRanking:
    shared = set.intersection(*(set(row.scores) for row in rows))
    names = [name for name in rows[0].scores if name in shared]
    ranks = {name: _ranks(name, rows) for name in names}
    order = [*selection, *names]
    lead = next((name for name in order if name in ranks), None)
    encoders = [RankedEncoder(row, {name: ranks[name][place] for name in names}) for place, row in enumerate(rows)]
    if lead is not None:
        encoders.sort(key=lambda ranked: (ranked.ranks[lead], ranked.row.encoder))
    trusted = {name: _controls_last(name, encoders) for name in names}
    pick, warnings = _pick(encoders, trusted, selection)
    return LlmRanking(llm, tuple(encoders), trusted, pick, tuple(warnings), _proven_orders(rows))


def _ranks(name: str, rows: list[Row]) -> list[int]:
    sign = -1 if rows[0].scores[name].higher_is_better else 1
    return [int(place) for place in rankdata([sign * row.scores[name].value for row in rows], method="min")]


def _controls_last(name: str, encoders: Sequence[RankedEncoder]) -> bool:
    """Whether every control ranks behind every pretrained encoder; a tie does not count as behind."""
    controls = [ranked.ranks[name] for ranked in encoders if ranked.row.image.control]
    pretrained = [ranked.ranks[name] for ranked in encoders if not ranked.row.image.control]
    return not controls or not pretrained or min(controls) > max(pretrained)


def _pick(
    encoders: list[RankedEncoder], trusted: Mapping[str, bool], selection: Sequence[str]
) -> tuple[Pick | None, list[str]]:
    pretrained = [ranked for ranked in encoders if not ranked.row.image.control]
    asked = [name for name in selection if name in trusted]
    if not pretrained or not asked:
        reason = (
            "it was computed for none of the scores in `selection`" if pretrained else "it has no pretrained encoder"
        )
        return None, [f"no pick for this pool: {reason}"]
    warnings = []
    if len(pretrained) == len(encoders):
        warnings.append("the pool has no control, so nothing shows whether its scores can be trusted")
    if PAPER in trusted and not trusted[PAPER]:
        warnings.append(_inversion(encoders))
    name = next((name for name in asked if trusted[name]), None)
    if name is None:
        return None, [
            *warnings,
            f"no pick for this pool: by each of {', '.join(asked)} a control outranks a pretrained encoder",
        ]
    first = min(ranked.ranks[name] for ranked in pretrained)
    best, *others = [ranked.row for ranked in pretrained if ranked.ranks[name] == first]
    if others:
        tied = ", ".join(row.encoder for row in others)
        warnings.append(f"tie: {tied} has the same {best.scores[name].title} as the pick {best.encoder}")
    return Pick(best.encoder, name, best.scores[name].title), warnings


def _inversion(encoders: list[RankedEncoder]) -> str:
    best = min((ranked for ranked in encoders if ranked.row.image.control), key=lambda ranked: ranked.ranks[PAPER])
    behind = [ranked for ranked in encoders if ranked.ranks[PAPER] >= best.ranks[PAPER]]
    beaten = [ranked.row.encoder for ranked in behind if not ranked.row.image.control]
    return (
        f"DO NOT TRUST GW HERE: the control '{best.row.encoder}' ranks {best.ranks[PAPER]} and outranks {len(beaten)} "
        f"pretrained encoder{'s'[: len(beaten) != 1]} ({', '.join(beaten)}); the pick does not come from GW"
    )


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
