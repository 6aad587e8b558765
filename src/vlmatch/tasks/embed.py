"""Embed: compute the embeddings of one encoder, one LLM or both, and nothing else; stages of dvc.yaml call it."""

import json
from collections.abc import Sequence
from pathlib import Path

from omegaconf import DictConfig

from vlmatch.embeddings.embed import embed as embed_one
from vlmatch.embeddings.header import Header
from vlmatch.embeddings.store import Store
from vlmatch.errors import VlmatchError
from vlmatch.files import renamed
from vlmatch.objects import build, plain, task
from vlmatch.processes import process_rank

SIDES = {"encoder": ("encoder",), "llm": ("llm",), "both": ("encoder", "llm")}


@task
def embed(config: DictConfig) -> None:
    """Fill the store for `task.side` of this config, and say what it took."""
    if config.task.side not in SIDES:
        raise VlmatchError(f"task.side='{config.task.side}' is unknown; choose one of {', '.join(SIDES)}")
    store, trainer = Store(config.store), plain(config.trainer)
    probe = build(plain(config.probe))
    headers = []
    for kind in SIDES[config.task.side]:
        embeddings, cost = embed_one(kind, plain(config[kind]), probe, store, trainer)
        took = f"in {cost.seconds:.0f} s" if cost.items else "in the store"
        print(f"{kind} '{config[kind].name}': {embeddings.array.shape[0]} x {embeddings.array.shape[1]}, {took}")
        headers.append(embeddings.header)
    if config.task.record is not None and process_rank() == 0:
        _write_record(Path(config.task.record), headers)


def _write_record(path: Path, headers: Sequence[Header]) -> None:
    """Write which embeddings the store now holds: equal files mean equal embeddings."""
    held = [
        {"model": each.spec.model, "fingerprint": each.fingerprint, "array_sha256": each.array_sha256}
        for each in headers
    ]
    with renamed(path) as temporary:
        temporary.write_text(json.dumps(held, indent=1) + "\n", encoding="utf-8")
