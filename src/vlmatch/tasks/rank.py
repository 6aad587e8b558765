"""Rank: embed and score one encoder against one LLM, log it, and show its place among all that the store holds."""

import os
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from hydra.core.hydra_config import HydraConfig

from vlmatch import paths
from vlmatch.api import ranking as api
from vlmatch.api.embedding import embedded
from vlmatch.api.evidence import answered, require_used
from vlmatch.configs import words
from vlmatch.embeddings.embed import Cost
from vlmatch.embeddings.header import Header, slug_of
from vlmatch.embeddings.store import Store
from vlmatch.jobs import SCORED, PairStatus
from vlmatch.machine.processes import PARENT, SWEEP, launched, process_rank
from vlmatch.objects import task
from vlmatch.probes.pairs import ProbeSet
from vlmatch.probes.shared import probe_of
from vlmatch.ranking import Question
from vlmatch.ranking.question import require_selection
from vlmatch.ranking.rule import ChosenRule
from vlmatch.report.answer import PoolRanking
from vlmatch.report.commands import as_given
from vlmatch.report.table import placed, say
from vlmatch.scores.rows import Row
from vlmatch.settings.command import Settings
from vlmatch.settings.tasks import TaskSettings
from vlmatch.tracking.fields import embedding_metrics, pair_of, tags_of
from vlmatch.tracking.tracker import Tracker


@task
def rank(settings: Settings[TaskSettings]) -> PairStatus | None:
    """Embed, compare, score and log; everything expensive comes from the store when it is there.

    Returns the outcome for the pair, which a sweep collects; None if only stored pairs were ranked.
    """
    require_selection(settings.selection, settings.score)
    require_used(settings.study)
    Question.of(settings)  # the settings are checked here, before hours of embedding
    if settings.pool != "auto":
        rank_stored(settings, settings.pool)
        return None
    encoder, llm = models = settings.encoder, settings.llm
    store = Store(settings.store)
    if process_rank() > 0:
        return _other_rank(settings, probe_of(settings.probe.plain()), store)
    tracker = Tracker.of(settings.tracking)  # first, so that nothing is computed if the server can't be used
    probe = probe_of(settings.probe.plain())
    slugs = [slug_of(model.kind, model.plain(), settings.trainer.precision) for model in models]
    if not os.environ.get(SWEEP):
        say(*probe.data_sheet())
    tags = tags_of((encoder.name, llm.name, probe.key, " x ".join(slugs)))
    with tracker.run(f"{encoder.name} x {llm.name}", tags, os.environ.get(PARENT)) as run_id:
        tracker.log_config(run_id, settings.config)
        tracker.log_sheet(run_id, probe.sheet())
        ranking = api.rank(probe, encoder, llm, store=store, trainer=settings.trainer, scores=settings.score)
        (row,) = ranking.rows
        costs = [ranking.costs[header.fingerprint] for header in (row.image, row.text)]
        rule = ChosenRule.of(Question.of(settings), [row])
        tracker.log_row(run_id, row, embedding_metrics(costs), rule.ingredients)
        _show(settings, row, costs, tracker, run_id, probe)
    return PairStatus(row.encoder, row.llm, SCORED, group=row.group)


def rank_stored(settings: Settings[TaskSettings], pool: str) -> None:
    """Rank what the store holds for this probe and recipe, embedding nothing; pairs not scored yet are scored.

    pool: 'experiment' ranks only the models of the experiment, 'store' all.
    """
    ranking = api.ranked_store(
        probe_of(settings.probe.plain()),
        Store(settings.store),
        settings.score,
        Question.of(settings),
        settings.costs,
        lambda header: wanted(settings, pool, header),
    )
    results = tuple(paths.result_folders(settings.results))
    answered(replace(ranking, results=results, command=_command()), settings.answer, settings.study)


def _other_rank(settings: Settings[TaskSettings], probe: ProbeSet, store: Store) -> PairStatus:
    """Do this process's part of the embedding, and nothing else: a launcher started it beside rank 0."""
    for model in (settings.encoder, settings.llm):
        embedded(model, probe, store, settings.trainer)
    return PairStatus(settings.encoder.name, settings.llm.name, SCORED)


def _show(
    settings: Settings[TaskSettings], row: Row, costs: Sequence[Cost], tracker: Tracker, run_id: str, probe: ProbeSet
) -> None:
    """Print the whole answer; in a sweep only one line, because its end shows the table."""
    if launched() and not os.environ.get(SWEEP):
        say(f"{row.encoder} x {row.llm} is scored; rank it by: {paths.program()} task=rank pool=store")
        return
    results = paths.result_folders(settings.results)
    question = Question.of(settings)
    if os.environ.get(SWEEP):
        question = replace(question, against=None)  # a later job may embed that encoder
    ranking = PoolRanking.in_store(
        Store(settings.store),
        {row.group},
        settings.score,
        question,
        results=results,
        stated=settings.costs,
        probe=probe,
        command=_command(),
    )
    if os.environ.get(SWEEP):
        say(placed(row, ranking.rankings, costs))
        return
    ranking, report = answered(ranking, settings.answer, settings.study)
    if report is not None:
        tracker.log_report(run_id, report)
    tracker.log_places({pair_of(row): run_id}, ranking)
    say(f"MLflow run: {paths.program()} task=ui, then {tracker.address(run_id)}")


def wanted(settings: Settings[Any], pool: str, header: Header) -> bool:
    """Whether an array was made with these settings and, with pool=experiment, by a model of the experiment's axes."""
    asked = settings.encoder if header.spec.kind == "encoder" else settings.llm
    if header.spec.precision != str(settings.trainer.precision) or not asked.has_choices(header.spec.settings):
        return False
    return pool == "store" or header.spec.model in _axis(asked.kind)


def _command() -> str:
    return as_given(words(HydraConfig.get().overrides.task), sweep=False)


def _axis(group: str) -> set[str]:
    params: Mapping[str, str] = HydraConfig.get().sweeper.params or {}
    return {name.strip() for name in str(params.get(group, "")).split(",")}
