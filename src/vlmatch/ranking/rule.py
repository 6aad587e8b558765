"""The rule that orders a pool: the one that the record chose, the paper's GW, or one score."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from vlmatch.encoders.spec_sheet import STATED
from vlmatch.errors import enumerated
from vlmatch.evidence.pools import Kind
from vlmatch.evidence.record import WorldRecord, record
from vlmatch.evidence.replay import TIE
from vlmatch.evidence.rules import fractional_ranks
from vlmatch.evidence.shortlists import Calibration
from vlmatch.ranking.question import Question, require_selection
from vlmatch.ranking.shortlist import Standing
from vlmatch.scores.rows import Row
from vlmatch.settings.selection import EVIDENCE, PAPER, PAPER_RULE

MIDDLE = 0.5  # the fractional rank of a candidate for which the ingredient is not known


@dataclass(frozen=True)
class ChosenRule:
    """What orders a pool.

    ingredients: names of scores; a candidate's value is the mean of its fractional ranks by them. words: the rule in
    words. world: the evidence for what the LLM will be fed. kind: the kind of replayed pools that the pool is most
    like. calibrated: whether replayed pools calibrated the rule's margin. missing: scores that the rule needs and that
    no candidate has; the pool is then ordered by another score. why: by the name of a missing score, why it was left
    out; it has no entry for a score that was not requested. instead: the rule's scores that use images and are known.
    """

    ingredients: tuple[str, ...]
    words: str
    world: WorldRecord
    kind: Kind
    calibrated: bool
    missing: tuple[str, ...] = ()
    why: Mapping[str, str] = field(default_factory=dict)
    instead: tuple[str, ...] = ()

    @classmethod
    def of(cls, question: Question, rows: Sequence[Row]) -> "ChosenRule":
        """The rule that `question.selection` names, for these candidates.

        Raises VlmatchError if it names no rule and no score.
        """
        world = record().world(question.fed)
        require_selection(question.selection, dict.fromkeys(name for row in rows for name in row.scores))
        kind, known = _kind(rows), {name: score for row in rows for name, score in row.scores.items()}
        evidence = question.selection == EVIDENCE
        name = PAPER if question.selection == PAPER_RULE else question.selection
        asked = world.rule.needs if evidence else (name,)
        missing = tuple(name for name in asked if name not in known)
        if missing:
            first = next(iter(known))
            words = f"{_lowest_or_highest(first, rows)}, because the requested rule can't be followed"
            why = {name: _reason(name, rows) for name in missing if any(name in row.left_out for row in rows)}
            instead = tuple(name for name in asked if name in known and "images" in known[name].uses)
            return cls((first,), words, world, kind, calibrated=False, missing=missing, why=why, instead=instead)
        if evidence:
            return cls(asked, world.rule.title, world, kind, calibrated=True)
        words = _lowest_or_highest(asked[0], rows)
        if question.selection == PAPER_RULE:
            words += ", as in the paper"
        return cls(asked, words, world, kind, calibrated=False)

    def calibration(self, size: int) -> Calibration | None:
        """The calibration by replayed pools of the nearest kind and size; None for a rule that was not replayed."""
        return self.world.calibration(self.kind, size) if self.calibrated else None

    def against_margin(self, size: int) -> float | None:
        """The smallest distance at which 90% of replayed pairs were in the right order; None if not known."""
        calibration = self.calibration(size)
        return None if calibration is None else calibration.difference

    @property
    def refusal(self) -> str | None:
        """Why the rule can't be followed; None if it can."""
        if not self.missing:
            return None
        uncomputed = [name for name in self.missing if name not in self.why]
        if uncomputed:
            names = ", ".join(uncomputed)
            return f"the rule needs {names}, which no candidate has; add it to `score`, or change `selection`"
        example = f", such as {' or '.join(self.instead)}" if self.instead else ""
        reasons = "; ".join(f"{name} ({why})" for name, why in self.why.items())
        return f"the rule needs figures that no candidate has: {reasons}; choose another `selection`{example}"


def standings(chosen: ChosenRule, rows: Sequence[Row]) -> tuple[list[Standing], list[str]]:
    """The candidates by the rule, best first, and notes about what is not known about them.

    If an ingredient is not known for a candidate, the candidate gets the middle rank by it, and a note says so.
    Candidates of equal value are in the order of the first ingredient by which they differ, then of their names.
    """
    by_ingredient = np.array([_fractional(name, rows) for name in chosen.ingredients])
    values = by_ingredient.mean(axis=0)
    rounded = values.round(9)  # equal means of ranks may differ in their last digits
    order = sorted(range(len(rows)), key=lambda i: (-rounded[i], *(-by_ingredient[:, i]), rows[i].encoder))
    drawn, rescaling = _subsampled(chosen, rows)
    found = [Standing(rows[i].encoder, float(values[i]), tuple(drawn[:, i]), rescaling) for i in order]
    return found, [*(note for name in chosen.ingredients for note in _unknown(name, rows)), *_too_few(chosen, rows)]


def best_by(ingredients: Sequence[str], rows: Sequence[Row]) -> tuple[str, ...]:
    """The encoder with the highest mean fractional rank by these scores, and all that tie with it."""
    values = np.mean([_fractional(name, rows) for name in ingredients], axis=0)
    return tuple(row.encoder for row, value in zip(rows, values, strict=True) if value > values.max() - TIE)


def _fractional(name: str, rows: Sequence[Row], subsample: int | None = None) -> NDArray[np.float64]:
    """Each candidate's fractional rank by a score on all pairs or on one subsample of them; 1 is the best."""
    known = [index for index, row in enumerate(rows) if name in row.scores]
    scores = [rows[index].scores[name] for index in known]
    drawn = [each.value if subsample is None or not each.subsamples else each.subsamples[subsample] for each in scores]
    found = np.full(len(rows), MIDDLE)
    found[known] = fractional_ranks(drawn, scores[0].higher_is_better)
    return found


def _subsampled(chosen: ChosenRule, rows: Sequence[Row]) -> tuple[NDArray[np.float64], float]:
    """Each candidate's value on each subsample, (subsamples, n), and the factor to multiply their deviation with.

    Without a resampled ingredient there are 0 subsamples.
    """
    scored = [row.scores[name] for row in rows for name in chosen.ingredients if name in row.scores]
    resampled = [each for each in scored if each.subsamples]
    if len({len(each.subsamples) for each in resampled}) != 1:
        return np.zeros((0, len(rows))), 1.0
    drawn = [
        np.mean([_fractional(name, rows, k) for name in chosen.ingredients], axis=0)
        for k in range(len(resampled[0].subsamples))
    ]
    n, m = resampled[0].n_pairs, resampled[0].n_subsampled
    return np.array(drawn), math.sqrt(m / (n - m))  # as in `Scored.deviation`


def _unknown(name: str, rows: Sequence[Row]) -> list[str]:
    absent = [row.encoder for row in rows if name not in row.scores]
    if not absent:
        return []
    hint = f"; if you know it, state it: {name}=... (docs/own_tower.md, docs/python.md)" if name in STATED else ""
    return [f"'{name}' is not known for {enumerated(absent)}, so the middle rank is used{hint}"]


def _too_few(chosen: ChosenRule, rows: Sequence[Row]) -> list[str]:
    """A note for each score of a calibrated rule that was not computed on subsamples: its deviation counts as 0."""
    if not chosen.calibrated:
        return []
    scored = {name: [row.scores[name] for row in rows if name in row.scores] for name in chosen.ingredients}
    lacking = [each for each in scored.values() if each and "images" in each[0].uses and not each[0].subsamples]
    return [
        f"{each[0].title} has no deviation over subsamples of the pairs, so places and shortlist ignore how much the "
        "choice of pairs matters"
        for each in lacking
    ]


def _reason(name: str, rows: Sequence[Row]) -> str:
    """Why the first candidate without this score has none."""
    return next(row.left_out[name].reason for row in rows if name in row.left_out)


def _lowest_or_highest(name: str, rows: Sequence[Row]) -> str:
    scored = next(row.scores[name] for row in rows if name in row.scores)
    return f"the {'highest' if scored.higher_is_better else 'lowest'} {scored.title}"


def _kind(rows: Sequence[Row]) -> Kind:
    """The kind of replayed pool that is most like these candidates."""
    entries = [row.image.entry for row in rows]
    if all(entry is not None and entry.language_supervised for entry in entries):
        return "language"
    families = [entry.family if entry else row.encoder for entry, row in zip(entries, rows, strict=True)]
    return "families" if len(set(families)) == len(families) else "random"
