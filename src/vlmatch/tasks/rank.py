"""Rank: embed and score one encoder against one LLM, log it, and show its place among all that the store holds."""

import os
from collections.abc import Mapping, Sequence
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
from vlmatch.scores.rows import Row, score_pair
from vlmatch.tracking import Tracker, tags_of


@task
def rank(config: DictConfig) -> PairStatus:
    """Embed, compare, score and log; everything expensive comes from the store when it is there."""
    if config.pool != "auto":
        return rank_stored(config)
    probe = build(plain(config.probe))
    store = Store(config.store)
    if process_rank() > 0:
        return _other_rank(config, probe, store)
    precision = str(config.trainer.precision)
    recipes = [EmbeddingSpec.of(kind, plain(config[kind]), probe, precision).slug for kind in ("encoder", "llm")]
    if not os.environ.get(SWEEP):
        terminal().print("\n".join(probe.data_sheet()), highlight=False, markup=False, soft_wrap=True)
    tracker = Tracker.of(config)
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
    members = [(folder, header) for folder, header in store.headers(probe.key) if _wanted(config, header)]
    images, captions = (
        [_read(folder) for folder, header in members if header.spec.kind == kind] for kind in ("encoder", "llm")
    )
    rows = [score_pair(*pair, plain(config.score), store) for pair in product(images, captions)]
    if not rows:
        raise VlmatchError(
            f"the store holds no encoder and LLM for probe '{probe.key}'; run python src/run.py multirun first"
        )
    _answer(config, rows, store)
    return PairStatus("*", "*", SCORED)


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
        results=paths.result_folders(Path(config.results)),
        table=config.answer.table,
        report=config.answer.report,
    )


def _wanted(config: DictConfig, header: Header) -> bool:
    """Whether an array is of the recipe asked for and, with pool=experiment, of a model in the experiment's axes."""
    kind = header.spec.kind
    asked = plain(config[kind])
    choices = ("feature",) if kind == "encoder" else ("layer", "pooling", "template", "max_tokens")
    if header.spec.precision != config.trainer.precision:
        return False
    if any(key in asked and header.spec.settings.get(key, asked[key]) != asked[key] for key in choices):
        return False
    return config.pool == "store" or header.spec.model in _axis(kind)


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
