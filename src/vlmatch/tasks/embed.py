"""Embed: compute the embeddings of one encoder, one LLM or both, and nothing else; stages of dvc.yaml call it."""

import json
from collections.abc import Sequence
from pathlib import Path

from vlmatch.api.embedding import embedded
from vlmatch.embeddings.header import Header
from vlmatch.embeddings.store import Store
from vlmatch.files import write_text
from vlmatch.machine.processes import process_rank
from vlmatch.objects import task
from vlmatch.settings.command import Settings
from vlmatch.settings.tasks import EmbedTask


@task
def embed(settings: Settings[EmbedTask]) -> None:
    """Fill the store for the models of `task.side`, and say how long it took."""
    side, store = settings.task.side, Store(settings.store)
    models = [*([settings.encoder] if side != "llm" else []), *([settings.llm] if side != "encoder" else [])]
    probe = settings.probe.build()
    headers = []
    for model in models:
        embeddings, cost = embedded(model, probe, store, settings.trainer)
        took = f"in {cost.seconds:.0f} s" if cost.items else "in the store"
        print(f"{model.kind} '{model.name}': {embeddings.array.shape[0]} x {embeddings.array.shape[1]}, {took}")
        headers.append(embeddings.header)
    if settings.task.record is not None and process_rank() == 0:
        _write_record(settings.task.record, headers)


def _write_record(path: Path, headers: Sequence[Header]) -> None:
    """Write which embeddings the store now holds: equal files mean equal embeddings."""
    held = [
        {"model": each.spec.model, "fingerprint": each.fingerprint, "array_sha256": each.array_sha256}
        for each in headers
    ]
    write_text(path, json.dumps(held, indent=1) + "\n")
