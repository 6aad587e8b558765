"""Embed: only compute embeddings, of one encoder, one LLM or both; the pipeline's stages are made of it."""

from omegaconf import DictConfig

from vlmatch.embeddings.embed import embed as embed_one
from vlmatch.embeddings.store import Store
from vlmatch.errors import VlmatchError
from vlmatch.objects import build, plain, task

SIDES = {"encoder": ("encoder",), "llm": ("llm",), "both": ("encoder", "llm")}


@task
def embed(config: DictConfig) -> None:
    """Fill the store for `task.side` of this config, and say what it took."""
    if config.task.side not in SIDES:
        raise VlmatchError(f"task.side='{config.task.side}' is unknown; choose one of {', '.join(SIDES)}")
    store, trainer = Store(config.store), plain(config.trainer)
    probe = build(plain(config.probe))
    for kind in SIDES[config.task.side]:
        embeddings, cost = embed_one(kind, plain(config[kind]), probe, store, trainer)
        took = f"in {cost.seconds:.0f} s" if cost.items else "in the store"
        print(f"{kind} '{config[kind].name}': {embeddings.array.shape[0]} x {embeddings.array.shape[1]}, {took}")
