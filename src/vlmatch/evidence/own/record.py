"""The record of scores against the user's truth: correlations, regrets, and choices replayed in pools."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import sqrt

import numpy as np
from scipy.stats import norm

from vlmatch.errors import VlmatchError
from vlmatch.evidence.correlation import LEAST, Correlation, correlation
from vlmatch.evidence.own.cells import KEY, OwnTruth
from vlmatch.evidence.own.comparable import ComparableTruth, comparable_truths, complete
from vlmatch.evidence.own.scores import ScoreTable
from vlmatch.evidence.own.tables import some
from vlmatch.evidence.replay import Figure, Outcome, known, rank_correlation, replay
from vlmatch.evidence.rules import CANDIDATES, Rule
from vlmatch.evidence.worlds import Floats, World

SIZES = (3, 5, 8)  # of replayed pools


@dataclass(frozen=True)
class RuleRecord:
    """One rule or score against the truth.

    correlation: Spearman's over the encoders that have it, with the interval over encoders. by_family: the same with
    the interval over families. picks: the encoders that it ranks first among these. regret: how far their truth is
    below the best one's, averaged over ties. outcomes: replayed pools of all encoders that have every score, by size.
    """

    rule: Rule
    correlation: Correlation
    by_family: Figure
    picks: tuple[str, ...]
    regret: float
    outcomes: Mapping[int, Outcome]


@dataclass(frozen=True)
class OwnRecord:
    """Every rule against the truths of one LLM and recipe.

    title: the LLM, the recipe if there are several, and `about`. about: which features and captions were scored ('' for
    a table of the user's). replayed: the encoders that pools were drawn from; empty if they are too few. at_random: by
    size of pool, what a random pick loses.
    """

    title: str
    truth: ComparableTruth
    about: str
    families: Mapping[str, str]
    rules: tuple[RuleRecord, ...]
    replayed: tuple[str, ...]
    at_random: Mapping[int, Outcome]
    notes: tuple[str, ...]

    @property
    def n_families(self) -> int:
        """How many families the encoders are of."""
        return len(set(self.families.values()))

    @property
    def luck(self) -> float:
        """The median of the highest Spearman among so many scores, if none of them is related to the truth.

        This holds for independent scores, by the normal approximation; for scores that resemble each other it is lower.
        """
        return float(norm.ppf(0.5 ** (1 / max(len(self.rules), 1)))) / sqrt(len(self.families) - 1)


def own_records(truth: OwnTruth, tables: Sequence[ScoreTable]) -> tuple[list[OwnRecord], list[str]]:
    """A record for each LLM and recipe of the truth and each table of scores for that LLM, and notes on the rest.

    LLMs are matched by name, whatever its case. Where truth and scores have one each, they are taken as the same.
    Raises VlmatchError where no record can be made.
    """
    found, notes = comparable_truths(truth)
    notes = [*truth.notes, *notes]
    names = {each.llm for each in found}, {table.llm for table in tables if table.llm}
    one_each = all(len(each) == 1 for each in names)
    if one_each and {name.casefold() for name in names[0]} != {name.casefold() for name in names[1]}:
        notes.append(f"the truth's LLM {min(names[0])} and the scores' {min(names[1])} are taken as the same")
    records, problems = [], []
    several = len({each.recipe for each in found}) > 1
    for each in found:
        fitting = [t for t in tables if one_each or t.llm is None or t.llm.casefold() == each.llm.casefold()]
        if not fitting:
            offered = ", ".join(sorted(names[1]))
            problems.append(f"{KEY}={truth.source}: no scores for LLM '{each.llm}'; there are some for {offered}")
        for table in fitting:
            try:
                parts = each.llm, each.recipe if several else "", table.about
                records.append(_record(", ".join(filter(None, parts)), each, table))
            except VlmatchError as error:
                problems.append(f"{KEY}={truth.source}: {each.llm}: {error}")
    if not records:
        raise VlmatchError("; ".join(problems[:1]))
    return records, [*notes, *problems]


def _record(title: str, truth: ComparableTruth, table: ScoreTable) -> OwnRecord:
    scored = set(table.encoders)
    shared = [name for name in truth.encoders if name in scored]
    if len(shared) < LEAST:
        raise VlmatchError(
            f"encoders with a truth and a score: {len(shared)}, wanted at least {LEAST}; the truth has "
            f"{some(truth.encoders)}, the scores {some(table.encoders)}: make names equal, or map them by study.names"
        )
    notes = [*truth.notes, *table.notes]
    if absent := [name for name in truth.encoders if name not in scored]:
        notes.append(f"{len(absent)} encoders of the truth have no scores: {some(absent)}")
    if absent := [name for name in table.encoders if name not in truth.encoders]:
        notes.append(f"{len(absent)} encoders with scores have no truth: {some(absent)}")
    rules, constant = _rules(table, shared)
    if constant:
        notes.append(f"scores that are equal for all encoders are left out: {some(constant)}")
    values = {name: score.values for name, score in table.scores.items() if name not in constant}
    whole = _replayed(truth, table, shared, values)
    by_size = {} if whole is None else _by_size(whole, rules)
    if not by_size:
        notes.append("too few encoders have all scores for a replay in pools; 10 with every score would do")
    records = [
        record for rule in rules if (record := _rule_record(truth, table, rule, shared, values, by_size)) is not None
    ]
    replayed = whole.names if whole is not None and by_size else ()
    at_random = {size: outcomes[None] for size, outcomes in by_size.items()}
    families = {name: table.family(name) for name in shared}
    return OwnRecord(title, truth, table.about, families, tuple(records), replayed, at_random, tuple(notes))


def _rules(table: ScoreTable, shared: Sequence[str]) -> tuple[list[Rule], list[str]]:
    """The record's candidate rules and each score by itself; second, the scores that are equal for all encoders.

    A candidate rule is left out if one of its ingredients is not known or equal for all encoders.
    """
    constant, singles = [], []
    for name, score in table.scores.items():
        known = {score.values[each] for each in shared if each in score.values}
        if len(known) < 2:
            constant.append(name)
        else:
            singles.append(score.direct)
    known_names = set(table.scores) - set(constant)
    composite = [rule for rule in CANDIDATES if len(rule.needs) > 1 and set(rule.needs) <= known_names]
    return [*composite, *singles], constant


def _replayed(
    truth: ComparableTruth, table: ScoreTable, shared: Sequence[str], values: Mapping[str, Mapping[str, float]]
) -> World | None:
    """The world of the encoders that have every score, without scores that too many lack; None if they are too few."""
    names = list(values)
    known = np.array([[encoder in values[name] for name in names] for encoder in shared])
    rows, columns = complete(known)
    if len(rows) < LEAST:
        return None
    return _world(truth, table, [shared[row] for row in rows], {names[c]: values[names[c]] for c in columns})


def _world(
    truth: ComparableTruth, table: ScoreTable, encoders: Sequence[str], values: Mapping[str, Mapping[str, float]]
) -> World:
    at = [truth.encoders.index(name) for name in encoders]
    columns = {name: [by_encoder[each] for each in encoders] for name, by_encoder in values.items()}
    families = [table.family(name) for name in encoders]
    return World.of(truth.llm, encoders, families, truth.truth[at], columns, truth.standard_error)


def _by_size(world: World, rules: Sequence[Rule]) -> dict[int, Mapping[Rule | None, Outcome]]:
    """Replayed outcomes by size of pool and rule; None is a pick at random. Sizes with too few pools are left out.

    The keys are rules and not their names, because a user's column may be called 'random' too.
    """
    usable = known(world, rules)
    found = {size: replay(world, usable, "random", size) for size in SIZES}
    return {size: dict(zip([None, *usable], outcomes, strict=True)) for size, outcomes in found.items() if outcomes}


def _rule_record(
    truth: ComparableTruth,
    table: ScoreTable,
    rule: Rule,
    shared: Sequence[str],
    values: Mapping[str, Mapping[str, float]],
    by_size: Mapping[int, Mapping[Rule | None, Outcome]],
) -> RuleRecord | None:
    """One rule over the encoders that have all its ingredients; None if they are too few."""
    encoders = [name for name in shared if all(name in values[need] for need in rule.needs)]
    if len(encoders) < LEAST:
        return None
    world = _world(truth, table, encoders, {need: values[need] for need in rule.needs})
    goodness = rule.values(world.values)
    outcomes = {size: found[rule] for size, found in by_size.items() if rule in found}
    first = np.flatnonzero(goodness >= goodness.max() - 1e-9)
    return RuleRecord(
        rule,
        correlation(_named(encoders, world.mean_truth), _named(encoders, goodness)),
        rank_correlation(world, rule),
        tuple(encoders[place] for place in first),
        float(world.mean_truth.max() - world.mean_truth[first].mean()),
        outcomes,
    )


def _named(encoders: Sequence[str], values: Floats) -> dict[str, float]:
    return {name: float(value) for name, value in zip(encoders, values, strict=True)}
