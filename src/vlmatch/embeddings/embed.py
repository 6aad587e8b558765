"""Embed a probe set by a model: from the store when fresh, else computed, resuming what a killed run left."""

import time
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from importlib.metadata import version
from typing import Any

from vlmatch.embeddings.header import Header, Recipe
from vlmatch.embeddings.store import FILE, Embeddings, Shards, Store, sha256_of, write_array
from vlmatch.errors import VlmatchError
from vlmatch.licences import licence_of
from vlmatch.objects import build
from vlmatch.probes.pairs import ProbeSet
from vlmatch.ranks import launched, rank

LIBRARIES = ("torch", "torchvision", "open_clip_torch", "timm", "transformers", "onnx2torch")


@dataclass(frozen=True)
class Cost:
    """What embedding took this time; all zero when the store had it."""

    seconds: float = 0.0
    items: int = 0
    gpu_bytes: int = 0


def embed(
    kind: str,
    config: Mapping[str, Any],
    probe: ProbeSet,
    store: Store,
    trainer: Mapping[str, Any],
    allowed: tuple[str, ...] = (),
) -> tuple[Embeddings, Cost]:
    """Embeddings of `probe` by the model of `config`, an encoder's or LLM's plain yaml.

    Two processes never compute the same one: the second waits, then reads. A file that is stale or damaged is
    computed again. `allowed` are prefixes of `_target_` beside vlmatch's own.
    Raises NotHereError where the weights can't be had, VlmatchError where the output is not (n, d).
    """
    recipe = Recipe.of(kind, config, probe, str(trainer["precision"]), allowed)
    found = store.read(recipe)
    if found is not None:
        return found, Cost()
    shards = Shards(store.folder(recipe), recipe.fingerprint, len(probe), int(trainer["shard_size"]))
    if rank() > 0:  # rank 0 of a torchrun holds the lock for all, until the array is whole
        _fill(build(config, allowed=allowed), probe, shards, trainer)
        with store.locked(recipe):
            found = store.read(recipe)
        if found is None:
            raise VlmatchError(f"{kind} '{recipe.model}': rank 0 failed to write the embeddings; its message says why")
        return found, Cost()
    with store.locked(recipe):
        found = store.read(recipe)
        if found is not None:
            return found, Cost()
        started = time.perf_counter()
        model = build(config, allowed=allowed)
        items = _announce(recipe, shards)
        _fill(model, probe, shards, trainer)
        embeddings = _finish(recipe, config, model, shards)
        return embeddings, Cost(time.perf_counter() - started, items, _gpu_bytes())


def _fill(model: Any, probe: ProbeSet, shards: Shards, trainer: Mapping[str, Any]) -> None:
    # One process of several always takes part: the others wait for it where the loop ends.
    if launched() or shards.missing():
        from vlmatch.embeddings.predict import predict_missing

        predict_missing(model, probe, shards, **{key: value for key, value in trainer.items() if key != "shard_size"})


def _announce(recipe: Recipe, shards: Shards) -> int:
    """Say what will be computed, and why if something was there; returns the number of items."""
    items = sum(len(shards.rows(shard)) for shard in shards.missing())
    things = "images" if recipe.kind == "encoder" else "captions"
    again = " (what is stored is stale or damaged)" if (shards.folder.parent / FILE).exists() else ""
    print(f"{recipe.kind} '{recipe.model}': embedding {items} of {shards.n_rows} {things}{again}", flush=True)
    return items


def _finish(recipe: Recipe, config: Mapping[str, Any], model: Any, shards: Shards) -> Embeddings:
    array = shards.merged()
    header = Header(
        recipe=recipe,
        fingerprint=recipe.fingerprint,
        dimension=array.shape[1],
        rule=model.rule,
        control=model.control,
        n_parameters=model.n_parameters(),
        weights_sha256=model.weights_sha256,
        preprocessing=model.preprocessing,
        licence=asdict(licence_of(config)),
        array_sha256=sha256_of(array),
        libraries={library: version(library) for library in LIBRARIES},
    )
    write_array(shards.folder.parent / FILE, array, {"header": header.to_json()})
    shards.clear()
    return Embeddings(array, header)


def _gpu_bytes() -> int:
    import torch

    return torch.cuda.max_memory_allocated() if torch.cuda.is_available() else 0
