"""The scores of a ranking compared with the truth: correlations for the report, and one line for the terminal."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from vlmatch.evidence.correlation import Correlation, by_subset
from vlmatch.evidence.replay import Figure
from vlmatch.evidence.seeds import SeedAgreement, Spread, agreements, spread
from vlmatch.evidence.truth import Truth
from vlmatch.evidence.truths import Comparison
from vlmatch.ranking import PAPER, LlmRanking, Ranking
from vlmatch.scores.rows import Row

SPOKEN_OF = "without controls"  # the subset of encoders that sentences are about
WIDTH, HEIGHT, MARGIN = 72, 18, 2  # of the drawing of a learning curve, in pixels


@dataclass(frozen=True)
class Point:
    """One encoder's score and truth."""

    score: float
    truth: Truth


@dataclass(frozen=True)
class ScoreEvidence:
    """One score and the truth of each encoder; `correlations` take the score with the sign that makes more better."""

    name: str
    title: str
    higher_is_better: bool
    uses: tuple[str, ...]
    points: tuple[Point, ...]
    correlations: Mapping[str, Correlation]


@dataclass(frozen=True)
class RankingEvidence:
    """One LLM's ranking on the pairs of `probe`, compared with the truths of one setting.

    absent: ranked encoders without a truth. other_weights: encoders that are left out because their truth was measured
    with other weights than those ranked.
    """

    probe: str
    llm: LlmRanking
    comparison: Comparison
    scores: tuple[ScoreEvidence, ...]
    agreements: tuple[SeedAgreement, ...]
    spread: Spread | None
    absent: tuple[str, ...]
    other_weights: tuple[str, ...]


def ranking_evidence(rankings: Sequence[Ranking], comparisons: Sequence[Comparison]) -> list[RankingEvidence]:
    """Compare each LLM of each ranking with each of `comparisons` of the same LLM that has one of its encoders."""
    return [
        _evidence_for(ranking.probe, llm, comparison)
        for ranking in rankings
        for llm in ranking.llms
        for comparison in comparisons
        if comparison.setting.llm == llm.llm
        and any(ranked.row.encoder in comparison.by_encoder for ranked in llm.encoders)
    ]


def _evidence_for(probe: str, llm: LlmRanking, comparison: Comparison) -> RankingEvidence:
    rows = {ranked.row.encoder: ranked.row for ranked in llm.encoders}
    shared = [truth for truth in comparison.truths if truth.encoder in rows]
    # An imported truth may not tell its weights.
    same = [t for t in shared if t.weights_sha256 in (None, rows[t.encoder].image.weights_sha256)]
    return RankingEvidence(
        probe=probe,
        llm=llm,
        comparison=comparison,
        scores=tuple(_score_evidence(name, rows, same, comparison) for name in llm.encoders[0].ranks),
        agreements=tuple(agreements(comparison)),
        spread=spread(comparison),
        absent=tuple(encoder for encoder in rows if encoder not in comparison.by_encoder),
        other_weights=tuple(truth.encoder for truth in shared if truth not in same),
    )


def _score_evidence(
    name: str, rows: Mapping[str, Row], truths: Sequence[Truth], comparison: Comparison
) -> ScoreEvidence:
    points = tuple(Point(rows[truth.encoder].scores[name].value, truth) for truth in truths)
    scored = next(iter(rows.values())).scores[name]
    goodness = {truth.encoder: rows[truth.encoder].scores[name].goodness for truth in truths}
    correlations = by_subset(comparison, goodness)
    return ScoreEvidence(name, scored.title, scored.higher_is_better, scored.uses, points, correlations)


def bare(value: float | None, digits: int = 2) -> str:
    """A number with `digits` decimals, without its leading zero if it is between -1 and 1; '-' for None."""
    return "-" if value is None else re.sub(r"^(-?)0\.", r"\1.", f"{value:z.{digits}f}")


def interval(correlation: Correlation | Figure) -> str:
    """A correlation's interval in brackets; '' if it has none."""
    return "" if correlation.low is None else f"[{bare(correlation.low)}, {bare(correlation.high)}]"


def undecided(correlation: Correlation) -> bool:
    """Whether the interval contains 0, or there is no interval."""
    return correlation.low is None or correlation.high is None or correlation.low <= 0 <= correlation.high


def setting_line(comparison: Comparison) -> str:
    """The recipe, LLM, data and number of seeds that the truth was measured with, in words."""
    setting = comparison.setting
    recipe = f"recipe {setting.recipe.name} (version {setting.recipe.version})"
    return f"{recipe}, {setting.llm}, data {setting.data}, {n_seeds(len(comparison.seeds))}"


def n_seeds(number: int) -> str:
    """'1 seed', '2 seeds'."""
    return f"{number} seed{'s'[: number != 1]}"


def paper_line(evidence: RankingEvidence) -> str | None:
    """Whether GW predicts the truth, in one sentence; None if GW or its correlation is missing."""
    score = next((score for score in evidence.scores if score.name == PAPER), None)
    if score is None or score.correlations[SPOKEN_OF].spearman is None:
        return None
    correlation = score.correlations[SPOKEN_OF]
    named = f"{score.title} (lower is better, as in the paper)"
    if undecided(correlation):
        says = f"These trainings do not decide whether {named} predicts the truth"
    elif (correlation.spearman or 0) > 0:
        says = f"{named} predicts this truth"
    else:
        says = f"{named} orders the encoders the wrong way round"
    figures = f"Spearman {bare(correlation.spearman)} {interval(correlation)}".rstrip()
    return f"{says}: {figures} over {correlation.n} encoders, {SPOKEN_OF}"


def terminal_line(evidence: RankingEvidence) -> str:
    """The correlation of every score over the subset `SPOKEN_OF`, in one line, or why there is none."""
    scores = [(score.title, score.correlations[SPOKEN_OF]) for score in evidence.scores]
    found = ", ".join(f"{title} {bare(correlation.spearman)}" for title, correlation in scores)
    n = max((each.n for _, each in scores), default=0)
    if n == 0:
        return f"truth ({setting_line(evidence.comparison)}): no VLM was trained with these encoders"
    if all(each.spearman is None for _, each in scores):
        return (
            f"truth ({setting_line(evidence.comparison)}): VLMs were trained with {n} of these encoders, {SPOKEN_OF}, "
            "too few for a correlation"
        )
    return (
        f"truth ({setting_line(evidence.comparison)}): Spearman over {n} encoders, "
        f"{SPOKEN_OF}: {found}; the report has the intervals"
    )


def curve_points(truth: Truth, comparison: Comparison) -> str:
    """An encoder's learning curve as points of an SVG polyline, on one scale for all encoders; '' if it has none."""
    lines = [[mean for _, mean in each.learning_curve] for each in comparison.truths]
    values = [value for line in lines for value in line]
    own = [mean for _, mean in truth.learning_curve]
    if len(own) < 2:
        return ""
    low, high = min(values), max(values)
    across = (WIDTH - 2 * MARGIN) / (len(own) - 1)
    up = (HEIGHT - 2 * MARGIN) / ((high - low) or 1.0)
    return " ".join(
        f"{MARGIN + place * across:.1f},{HEIGHT - MARGIN - (value - low) * up:.1f}" for place, value in enumerate(own)
    )


def curve_words(truth: Truth) -> str:
    """An encoder's learning curve in words: each step and the mean there."""
    return ", ".join(f"step {step}: {bare(mean, 3)}" for step, mean in truth.learning_curve)
