"""Rank: embed and score one encoder against one LLM, log it, and show its place among all that the store holds."""

import os
from collections.abc import Mapping, Sequence
from functools import cache
from itertools import product
from pathlib import Path
from typing import Any

from hydra.core.hydra_config import HydraConfig

from vlmatch import paths
from vlmatch.embeddings.embed import Cost, embed
from vlmatch.embeddings.header import EmbeddingSpec, Header
from vlmatch.embeddings.store import FILE, Embeddings, Store, read_file
from vlmatch.errors import VlmatchError
from vlmatch.jobs import SCORED, PairStatus
from vlmatch.objects import task
from vlmatch.probes.shared import probe_of
from vlmatch.processes import PARENT, SWEEP, launched, process_rank
from vlmatch.ranking import rank_rows
from vlmatch.report.answer import answer, rows_of
from vlmatch.report.table import placed, terminal
from vlmatch.scores.rows import Row, score_pair, stored_rows
from vlmatch.settings.buildable import ModelSettings
from vlmatch.settings.command import Settings
from vlmatch.settings.tasks import TaskSettings
from vlmatch.tracking import Tracker, tags_of


@task
def rank(settings: Settings[TaskSettings]) -> PairStatus:
    """Embed, compare, score and log; everything expensive comes from the store when it is there."""
    if settings.pool != "auto":
        return rank_stored(settings, settings.pool)
    encoder, llm = models = settings.encoder, settings.llm
    store = Store(settings.store)
    if process_rank() > 0:
        return _other_rank(settings, probe_of(settings.probe.plain()), store)
    tracker = Tracker.of(settings.tracking)  # first, because nothing may be computed for a server that can't be used
    probe = probe_of(settings.probe.plain())
    precision = str(settings.trainer.precision)
    recipes = [EmbeddingSpec.of(model.kind, model.plain(), probe, precision).slug for model in models]
    if not os.environ.get(SWEEP):
        terminal().print("\n".join(probe.data_sheet()), highlight=False, markup=False, soft_wrap=True)
    tags = tags_of(encoder.name, llm.name, probe=probe.key, recipe=" x ".join(recipes))
    with tracker.run(f"{encoder.name} x {llm.name}", tags, os.environ.get(PARENT)) as run_id:
        tracker.log_config(run_id, settings.config)
        tracker.log_sheet(run_id, probe.sheet())
        (images, image_cost), (captions, text_cost) = (_embedded(model, settings, probe, store) for model in models)
        row = score_pair(images, captions, settings.score, store)
        tracker.log_row(run_id, row, _costs(image_cost, text_cost))
        _show(settings, row, (image_cost, text_cost), tracker, run_id)
    return PairStatus(row.encoder, row.llm, SCORED, group=row.group)


def rank_stored(settings: Settings[TaskSettings], pool: str) -> PairStatus:
    """Rank what the store holds for this probe and recipe, embedding nothing; pairs not scored yet are scored.

    pool: 'experiment' ranks only the models of the experiment, 'store' all.
    """
    store = Store(settings.store)
    probe = settings.probe.build()
    rows = _stored_pairs(settings, pool, probe.key, store)
    if not rows:
        raise VlmatchError(
            f"the store holds no encoder and LLM for probe '{probe.key}'; run python src/run.py multirun first"
        )
    _answer(settings, rows, store)
    return PairStatus("*", "*", SCORED)


def _stored_pairs(settings: Settings[TaskSettings], pool: str, probe: str, store: Store) -> list[Row]:
    """The row of every pair that is asked for; embeddings are read only for pairs that have not been scored yet."""
    members = [each for each in store.headers(probe) if _wanted(settings, pool, each[1])]
    images, captions = ([each for each in members if each[1].spec.kind == kind] for kind in ("encoder", "llm"))
    scored = {(row.image.fingerprint, row.text.fingerprint): row for row in stored_rows(store, probe, settings.score)}
    read = cache(_read)
    rows = []
    for (image_folder, image), (text_folder, text) in product(images, captions):
        row = scored.get((image.fingerprint, text.fingerprint))
        if row is None or (row.image, row.text) != (image, text):
            row = score_pair(read(image_folder), read(text_folder), settings.score, store)
        rows.append(row)
    return rows


def _embedded(
    model: ModelSettings, settings: Settings[TaskSettings], probe: Any, store: Store
) -> tuple[Embeddings, Cost]:
    return embed(model.kind, model.plain(), probe, store, settings.trainer.plain())


def _other_rank(settings: Settings[TaskSettings], probe: Any, store: Store) -> PairStatus:
    """A process that a launcher started beside rank 0 does its share of the embedding, and nothing else."""
    for model in (settings.encoder, settings.llm):
        _embedded(model, settings, probe, store)
    return PairStatus(settings.encoder.name, settings.llm.name, SCORED)


def _show(settings: Settings[TaskSettings], row: Row, costs: tuple[Cost, Cost], tracker: Tracker, run_id: str) -> None:
    """Print one line in a sweep, whose end shows the table; otherwise print the whole answer."""
    store = Store(settings.store)
    if os.environ.get(SWEEP):
        rankings = rank_rows(rows_of(store, {row.group}, settings.score), settings.selection)
        terminal().print(placed(row, rankings, costs))
        return
    if launched():
        terminal().print(f"{row.encoder} x {row.llm} is scored; rank it by: python src/run.py task=rank pool=store")
        return
    report = _answer(settings, rows_of(store, {row.group}, settings.score), store)
    if report is not None:
        tracker.log_file(run_id, report)
    terminal().print(f"MLflow run {run_id}: make ui, then {tracker.comparison([run_id])}", soft_wrap=True)


def _answer(settings: Settings[TaskSettings], rows: Sequence[Row], store: Store) -> Path | None:
    return answer(
        rows,
        settings.selection,
        store,
        results=paths.result_folders(settings.results),
        table=settings.answer.table,
        report=settings.answer.report,
    )


def _wanted(settings: Settings[TaskSettings], pool: str, header: Header) -> bool:
    """Whether an array is of the recipe asked for and, with pool=experiment, of a model in the experiment's axes."""
    asked = settings.encoder if header.spec.kind == "encoder" else settings.llm
    if header.spec.precision != str(settings.trainer.precision) or not asked.has_choices(header.spec.settings):
        return False
    return pool == "store" or header.spec.model in _axis(asked.kind)


def _axis(group: str) -> set[str]:
    params: Mapping[str, str] = HydraConfig.get().sweeper.params or {}
    return {name.strip() for name in str(params.get(group, "")).split(",")}


def _read(folder: Any) -> Embeddings:
    found = read_file(folder / FILE)
    if found is None:
        raise VlmatchError(f"{folder / FILE} is damaged; remove its folder and embed again")
    return found


def _costs(images: Cost, captions: Cost) -> dict[str, float]:
    """What this job computed, for MLflow; nothing for what came from the store."""
    costs = {}
    for side, cost in (("image", images), ("caption", captions)):
        if cost.items:
            costs[f"{side}_embedding_seconds"] = cost.seconds
            costs[f"{side}_embeddings_per_second"] = cost.items / cost.seconds
            if cost.gpu_bytes:
                costs[f"{side}_gpu_memory_gib"] = cost.gpu_bytes / 2**30
    return costs
