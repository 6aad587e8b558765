"""Rank a pool of encoders for LLMs."""

from collections.abc import Callable, Mapping, Sequence
from functools import cache, partial
from itertools import product
from pathlib import Path
from typing import Any, TypeAlias

from vlmatch import paths
from vlmatch.api.defaults import chosen_scores
from vlmatch.api.embedding import Trainer, stored_as
from vlmatch.api.models import Model, models_of
from vlmatch.api.pool import Member, Scoring, scored
from vlmatch.api.probes import Probe, probe
from vlmatch.api.scores import GivenScore, ScoreChoice
from vlmatch.api.settings import AUTO, store_of, trainer_settings
from vlmatch.costs.budget import Budget
from vlmatch.costs.candidate import costs_of
from vlmatch.embeddings.header import Header
from vlmatch.embeddings.measured import read_measured
from vlmatch.embeddings.store import FILE, Embeddings, Store, damaged_error, read_file
from vlmatch.errors import VlmatchError
from vlmatch.machine.memory import MANY_PAIRS
from vlmatch.probes.pairs import ProbeSet
from vlmatch.ranking import Fed, Question
from vlmatch.ranking.question import require_selection
from vlmatch.report.answer import PoolRanking
from vlmatch.report.pairs import ReadEmbeddings
from vlmatch.scores.base import Score
from vlmatch.scores.progress import ScoringProgress
from vlmatch.scores.rows import Row, require_memory, stored_rows
from vlmatch.scores.sides import freed
from vlmatch.settings.budget import BudgetSettings, CostSettings
from vlmatch.settings.buildable import ObjectSettings
from vlmatch.settings.selection import EVIDENCE, with_selected
from vlmatch.settings.work import TrainerSettings

BudgetLimits: TypeAlias = Budget | BudgetSettings | Mapping[str, Any] | None
"""A budget, or its limits by name; None: no limit."""

StatedCosts: TypeAlias = Mapping[str, CostSettings | Mapping[str, Any]] | None
"""By encoder, what the user says that it costs; None: nothing."""

Models: TypeAlias = Sequence[Model] | Model
"""Several models, or one."""


@freed()
def rank(
    probe_set: Probe,
    encoders: Models,
    llms: Models,
    *,
    store: Store | Path | str | None = None,
    trainer: Trainer = AUTO,
    scores: ScoreChoice | None = None,
    selection: str = EVIDENCE,
    fed: Fed = "patches",
    against: str | None = None,
    budget: BudgetLimits = None,
    costs: StatedCosts = None,
    progress: bool = True,
) -> PoolRanking:
    """Rank encoders by how well their embeddings of a probe set fit those of LLMs; nothing is trained.

    Parameters
    ----------
    probe_set
        As for `probe`: your own folder, or the name of a probe.
    encoders
        Each as `model` of `embed`. Their names must differ.
    llms
        Likewise.
    store
        As for `embed`. Scores are kept there too.
    trainer
        As for `embed`.
    progress
        As for `embed`.
    scores
        As for `score`: names of scores, or a mapping from names to scores or their settings.
    selection
        What orders the encoders: 'evidence' (the rule that did best in replayed pools), 'paper' (the lowest GW), or the
        name of a score, which is computed even if `scores` leaves it out.
    fed
        What your LLM will be fed for an image: 'patches' (all of them, as in LLaVA) or 'pooled' (one feature). The rule
        depends on it.
    against
        The encoder that you have now, one of `encoders`.
    budget
        Limits on what an encoder may cost, such as {'params': '300M', 'licence': 'commercial'}.
    costs
        What encoders of your own cost, by name, such as {'mine': {'flops': '17.6G', 'licence': 'MIT'}}.

    Returns
    -------
    PoolRanking
        A value that prints as the answer, shows as a table in a notebook, and has `shortlists`, `picks`, `to_frame()`
        and `report(path)`. Its `failures` are the pairs that can't be scored, because one of their models fails or its
        weights are not available; the others are ranked without them.

    Raises
    ------
    NotHereError
        If no pair can be scored because weights are not available.
    VlmatchError
        On bad input, or if no pair can be scored for another reason.

    Examples
    --------
    >>> import vlmatch
    >>> ranking = vlmatch.rank("pictures", ["pixels16", "mean_colour", my_encoder], [my_llm], progress=False)
    >>> ranking.to_frame()[["llm", "encoder", "control"]].sort_values("encoder").encoder.tolist()
    ['mean_colour', 'mine', 'pixels16']
    >>> list(ranking.shortlists)  # by LLM, the encoders to train; none where the pairs can't separate them from pixels
    ['letters']
    >>> ranking.report("report.html").name
    'report.html'
    """
    pairs, kept, options = probe(probe_set), store_of(store), trainer_settings(trainer)
    chosen = score_choice(scores, selection)
    question = Question(selection, fed, against, Budget.of(budget))
    require_selection(selection, chosen)
    stated = _stated(costs)  # all input is checked before hours of embedding
    pools = [models_of(kind, given, options) for kind, given in (("encoder", encoders), ("llm", llms))]
    _require_memory(pairs, kept, chosen, pools, options)
    images, captions = ([Member.of(each, pairs, kept, options, progress=progress) for each in pool] for pool in pools)
    found = scored(images, captions, chosen, kept, pairs.labels)
    found.require_rows()
    embedded_now = [member for member in (*images, *captions) if member.embeddings is not None]
    return PoolRanking.of(
        found.rows,
        question,
        failures=found.failures,
        results=paths.result_folders(),
        embeddings=_reader(embedded_now, kept),
        costs={member.fingerprint: member.cost for member in embedded_now},
        prices=costs_of(found.rows, partial(read_measured, kept), stated),
        probe=pairs,
    )


@freed()
def rank_stored(
    probe_set: Probe,
    *,
    store: Store | Path | str | None = None,
    scores: ScoreChoice | None = None,
    selection: str = EVIDENCE,
    fed: Fed = "patches",
    against: str | None = None,
    budget: BudgetLimits = None,
    costs: StatedCosts = None,
) -> PoolRanking:
    """Rank every encoder for every LLM that the store holds for a probe set; nothing is embedded.

    The arguments are those of `rank`; pairs without scores are scored.
    Raises VlmatchError if the store has no encoder or no LLM, or if one of its files is damaged.

    >>> import vlmatch
    >>> for model in ("pixels16", "mean_colour", my_llm):
    ...     stored = vlmatch.embed("pictures", model, progress=False)
    >>> sorted(vlmatch.rank_stored("pictures", scores=["cka"]).to_frame().encoder)
    ['mean_colour', 'pixels16']
    """
    question = Question(selection, fed, against, Budget.of(budget))
    return ranked_store(probe(probe_set), store_of(store), scores, question, costs)


def ranked_store(
    pairs: ProbeSet,
    kept: Store,
    scores: ScoreChoice | None,
    question: Question,
    costs: StatedCosts,
    wanted: Callable[[Header], bool] = lambda header: True,
) -> PoolRanking:
    """As `rank_stored`, for a question and for only those embeddings whose headers are `wanted`."""
    chosen = score_choice(scores, question.selection)
    require_selection(question.selection, chosen)
    found = _stored_pairs(pairs, kept, chosen, wanted)
    found.require_rows()
    if not found.rows:
        raise VlmatchError(
            f"store={kept.root} holds no embeddings by both an encoder and an LLM with the requested settings for "
            f"probe '{pairs.key}'; embed them first: on the command line without task= and pool=, in Python by "
            "vlmatch.rank"
        )
    return PoolRanking.of(
        found.rows,
        question,
        failures=found.failures,
        results=paths.result_folders(),
        embeddings=kept.read_ranked,
        prices=costs_of(found.rows, partial(read_measured, kept), _stated(costs)),
        probe=pairs,
    )


def _require_memory(
    pairs: ProbeSet,
    store: Store,
    scores: Mapping[str, ObjectSettings],
    pools: Sequence[Sequence[Any]],
    trainer: TrainerSettings,
) -> None:
    """Raise VlmatchError, before hours of embedding, if there is too little memory to score what is not scored yet."""
    if len(pairs) < MANY_PAIRS:
        return
    stored = stored_rows(store, pairs.key, scores, pairs.labels)
    scored = {(row.image.fingerprint, row.text.fingerprint) for row in stored}
    asked = product(*([stored_as(model, pairs, trainer) for model in pool] for pool in pools))
    if not set(asked) <= scored:
        require_memory(len(pairs), scores)


def _reader(members: Sequence[Member], store: Store) -> ReadEmbeddings:
    """A function that reads embeddings from the store, or from memory if they are not stored."""
    unstored = {member.fingerprint: member.embeddings for member in members if not member.is_stored}
    return lambda spec: unstored.get(spec.fingerprint) or store.read(spec)


def _stored_pairs(
    pairs: ProbeSet, store: Store, scores: Mapping[str, ObjectSettings], wanted: Callable[[Header], bool]
) -> Scoring:
    """The row of every pair that is wanted; embeddings are read only for pairs that have not been scored yet."""
    if damaged := store.damaged(pairs.key):
        raise damaged_error(damaged[0])
    members = [(folder, header) for folder, header in store.headers(pairs.key) if wanted(header)]
    images, captions = ([each for each in members if each[1].spec.kind == kind] for kind in ("encoder", "llm"))
    stored = stored_rows(store, pairs.key, scores, pairs.labels)
    known = {(row.image.fingerprint, row.text.fingerprint): row for row in stored}
    read = cache(_read)
    every: list[tuple[Path, Path, Row | None]] = []
    for (image_folder, image), (text_folder, text) in product(images, captions):
        row = known.get((image.fingerprint, text.fingerprint))
        every.append((image_folder, text_folder, row if row and (row.image, row.text) == (image, text) else None))
    found = Scoring()
    with ScoringProgress(sum(row is None for _, _, row in every)) as progress:
        for image_folder, text_folder, row in every:
            if row is not None:
                found.rows.append(row)
                continue
            found.score(read(image_folder), read(text_folder), scores, store, pairs.labels)
            progress.advance()
    return found


def _read(folder: Path) -> Embeddings:
    found = read_file(folder / FILE)
    if found is None:
        raise damaged_error(folder / FILE)
    return found


def score_choice(scores: ScoreChoice | None, selection: str = EVIDENCE) -> dict[str, ObjectSettings]:
    """The settings of the chosen scores by name, including the score that `selection` names.

    Raises VlmatchError if a score is unknown or none is chosen.
    """
    return {name: _settings(name, each) for name, each in with_selected(chosen_scores(scores), selection).items()}


def _settings(name: str, score: Score | ObjectSettings | Mapping[str, Any]) -> ObjectSettings:
    if isinstance(score, ObjectSettings):
        return score
    return GivenScore.of_score(name, score) if isinstance(score, Score) else ObjectSettings.of(f"scores.{name}", score)


def _stated(costs: StatedCosts) -> dict[str, CostSettings]:
    """The settings of the stated costs. Raises VlmatchError on an unknown key or a value that is not an amount."""
    return {
        name: each if isinstance(each, CostSettings) else CostSettings.of(f"costs.{name}", each)
        for name, each in (costs or {}).items()
    }
