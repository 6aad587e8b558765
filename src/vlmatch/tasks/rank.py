"""Rank: embed and score one encoder against one LLM, log it, and show its place among all that the store holds."""

import os
from collections.abc import Callable, Mapping, Sequence
from functools import cache
from itertools import product
from pathlib import Path
from typing import Any

from hydra.core.hydra_config import HydraConfig
from omegaconf import DictConfig

from vlmatch import paths
from vlmatch.embeddings.embed import Cost, embed
from vlmatch.embeddings.header import EmbeddingSpec, Header
from vlmatch.embeddings.store import FILE, Embeddings, Store, read_file
from vlmatch.errors import VlmatchError
from vlmatch.jobs import SCORED, PairStatus
from vlmatch.objects import build, plain, task
from vlmatch.processes import PARENT, SWEEP, launched, process_rank
from vlmatch.ranking import rank_rows
from vlmatch.report.answer import answer, rows_of
from vlmatch.report.table import placed, terminal
from vlmatch.scores.rows import Row, score_pair, stored_rows
from vlmatch.tracking import Tracker, tags_of


@task
def rank(config: DictConfig) -> PairStatus:
    """Embed, compare, score and log; everything expensive comes from the store when it is there."""
    if config.pool != "auto":
        return rank_stored(config)
    store = Store(config.store)
    if process_rank() > 0:
        return _other_rank(config, build(plain(config.probe)), store)
    tracker = Tracker.of(config)  # first, because nothing may be computed for a server that can't be used
    probe = build(plain(config.probe))
    precision = str(config.trainer.precision)
    recipes = [EmbeddingSpec.of(kind, plain(config[kind]), probe, precision).slug for kind in ("encoder", "llm")]
    if not os.environ.get(SWEEP):
        terminal().print("\n".join(probe.data_sheet()), highlight=False, markup=False, soft_wrap=True)
    name = f"{config.encoder.name} x {config.llm.name}"
    with tracker.run(
        name, tags_of(config, probe=probe.key, recipe=" x ".join(recipes)), os.environ.get(PARENT)
    ) as run_id:
        tracker.log_config(run_id, config)
        tracker.log_sheet(run_id, probe.sheet())
        images, image_cost = embed("encoder", plain(config.encoder), probe, store, plain(config.trainer))
        captions, text_cost = embed("llm", plain(config.llm), probe, store, plain(config.trainer))
        row = score_pair(images, captions, plain(config.score), store)
        tracker.log_row(run_id, row, _costs(image_cost, text_cost))
        _show(config, row, (image_cost, text_cost), tracker, run_id)
    return PairStatus(row.encoder, row.llm, SCORED, group=row.group)


def rank_stored(config: DictConfig) -> PairStatus:
    """Rank what the store holds for this probe and recipe, embedding nothing; pairs not scored yet are scored."""
    if config.pool not in ("store", "experiment"):
        raise VlmatchError(f"pool='{config.pool}' is unknown; choose one of auto, store, experiment")
    store = Store(config.store)
    probe = build(plain(config.probe))
    rows = _stored_pairs(config, probe.key, store)
    if not rows:
        raise VlmatchError(
            f"the store holds no encoder and LLM for probe '{probe.key}'; run python src/run.py multirun first"
        )
    _answer(config, rows, store)
    return PairStatus("*", "*", SCORED)


def _stored_pairs(config: DictConfig, probe: str, store: Store) -> list[Row]:
    """The row of every pair that is asked for; embeddings are read only for pairs that have not been scored yet."""
    scores = plain(config.score)
    wanted = {kind: _wanted(config, kind) for kind in ("encoder", "llm")}
    members = [each for each in store.headers(probe) if wanted[each[1].spec.kind](each[1])]
    images, captions = ([each for each in members if each[1].spec.kind == kind] for kind in ("encoder", "llm"))
    scored = {(row.image.fingerprint, row.text.fingerprint): row for row in stored_rows(store, probe, scores)}
    read = cache(_read)
    rows = []
    for (image_folder, image), (text_folder, text) in product(images, captions):
        row = scored.get((image.fingerprint, text.fingerprint))
        if row is None or (row.image, row.text) != (image, text):
            row = score_pair(read(image_folder), read(text_folder), scores, store)
        rows.append(row)
    return rows


def _other_rank(config: DictConfig, probe: Any, store: Store) -> PairStatus:
    """A process that a launcher started beside rank 0 does its share of the embedding, and nothing else."""
    for kind in ("encoder", "llm"):
        embed(kind, plain(config[kind]), probe, store, plain(config.trainer))
    return PairStatus(config.encoder.name, config.llm.name, SCORED)


def _show(config: DictConfig, row: Row, costs: tuple[Cost, Cost], tracker: Tracker, run_id: str) -> None:
    """Print one line in a sweep, whose end shows the table; otherwise print the whole answer."""
    store = Store(config.store)
    if os.environ.get(SWEEP):
        rankings = rank_rows(rows_of(store, {row.group}, plain(config.score)), config.selection)
        terminal().print(placed(row, rankings, costs))
        return
    if launched():
        terminal().print(f"{row.encoder} x {row.llm} is scored; rank it by: python src/run.py task=rank pool=store")
        return
    report = _answer(config, rows_of(store, {row.group}, plain(config.score)), store)
    if report is not None:
        tracker.log_file(run_id, report)
    terminal().print(f"MLflow run {run_id}: make ui, then {tracker.comparison([run_id])}", soft_wrap=True)


def _answer(config: DictConfig, rows: Sequence[Row], store: Store) -> Path | None:
    return answer(
        rows,
        config.selection,
        store,
        results=paths.result_folders(config.results),
        table=config.answer.table,
        report=config.answer.report,
    )


def _wanted(config: DictConfig, kind: str) -> Callable[[Header], bool]:
    """Whether an array is of the recipe asked for and, with pool=experiment, of a model in the experiment's axes."""
    asked, axis = plain(config[kind]), _axis(kind)
    choices = ("feature",) if kind == "encoder" else ("layer", "pooling", "template", "max_tokens")
    settings = {key: asked[key] for key in choices if key in asked}

    def wanted(header: Header) -> bool:
        same_recipe = all(header.spec.settings.get(key, value) == value for key, value in settings.items())
        in_pool = config.pool == "store" or header.spec.model in axis
        return header.spec.precision == config.trainer.precision and same_recipe and in_pool

    return wanted


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
