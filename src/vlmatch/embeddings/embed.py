"""Embed a probe set by a model: from the store when fresh, else computed, resuming what a killed run left."""

import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from importlib.metadata import version
from pathlib import Path
from typing import Any

from vlmatch.embeddings.header import EmbeddingSpec, Header
from vlmatch.embeddings.order import row_order
from vlmatch.embeddings.store import FILE, Array, Embeddings, Shards, Store, sha256_of, write_array
from vlmatch.encoders.about import About
from vlmatch.errors import VlmatchError
from vlmatch.objects import build
from vlmatch.packages.licences import NONE_STATED, licence_of
from vlmatch.probes.pairs import ProbeSet
from vlmatch.processes import launched, process_rank

LIBRARIES = ("torch", "torchvision", "open_clip_torch", "timm", "transformers", "onnx2torch")


@dataclass(frozen=True)
class Cost:
    """What embedding took this time; all zero when the store had it."""

    seconds: float = 0.0
    items: int = 0
    gpu_bytes: int = 0

    def __add__(self, other: "Cost") -> "Cost":
        """The cost of both, one after the other."""
        return Cost(self.seconds + other.seconds, self.items + other.items, max(self.gpu_bytes, other.gpu_bytes))


def embed(
    kind: str,
    config: Mapping[str, Any],
    probe: ProbeSet,
    store: Store,
    trainer: Mapping[str, Any],
) -> tuple[Embeddings, Cost]:
    """Embeddings of `probe` by the model of `config`, an encoder's or LLM's plain yaml.

    Two processes never compute the same one: the second waits, then reads. A file that is stale or damaged is
    computed again.  A model made of others (`parts:`) is
    combined from their embeddings, which are stored under their own names; the cost is theirs.
    Raises NotHereError where the weights can't be had, VlmatchError where the output is not (n, d).
    """
    spec = EmbeddingSpec.of(kind, config, probe, str(trainer["precision"]))
    found = store.read(spec)
    if found is not None:
        return found, Cost()
    if config.get("parts"):
        return _combine(spec, config, probe, store, trainer)
    shards = Shards(store.folder(spec), spec.fingerprint, row_order(kind, probe), int(trainer["shard_size"]))
    if process_rank() > 0:  # rank 0 of a torchrun holds the lock for all, until the array is whole
        _fill(build(config), probe, shards, trainer)
        with store.locked(spec):
            found = store.read(spec)
        if found is None:
            raise VlmatchError(f"{kind} '{spec.model}': rank 0 failed to write the embeddings; its message says why")
        return found, Cost()
    with store.locked(spec):
        found = store.read(spec)
        if found is not None:
            return found, Cost()
        started = time.perf_counter()
        _forget_gpu_bytes()
        model = build(config)
        items = _announce(spec, shards)
        truncation = _truncation(model, probe)
        _fill(model, probe, shards, trainer)
        about = About.of(model)
        about = replace(about, preprocessing={**about.preprocessing, **truncation})
        embeddings = _finish(spec, config, about, shards)
        return embeddings, Cost(time.perf_counter() - started, items, _gpu_bytes())


def _fill(model: Any, probe: ProbeSet, shards: Shards, trainer: Mapping[str, Any]) -> None:
    # One process of several always takes part: the others wait for it where the loop ends.
    if launched() or shards.missing():
        from vlmatch.embeddings.predict import predict_missing

        predict_missing(model, probe, shards, **{key: value for key, value in trainer.items() if key != "shard_size"})


def _announce(spec: EmbeddingSpec, shards: Shards) -> int:
    """Say what will be computed, and why if something was there; returns the number of items."""
    items = sum(len(shards.rows(shard)) for shard in shards.missing())
    things = "images" if spec.kind == "encoder" else "captions"
    again = " (what is stored is stale or damaged)" if (shards.folder.parent / FILE).exists() else ""
    dtype = "" if spec.precision == "32-true" else f", forward pass in {spec.precision}"
    print(f"{spec.kind} '{spec.model}': embedding {items} of {len(shards.order)} {things}{dtype}{again}", flush=True)
    return items


def _combine(
    spec: EmbeddingSpec,
    config: Mapping[str, Any],
    probe: ProbeSet,
    store: Store,
    trainer: Mapping[str, Any],
) -> tuple[Embeddings, Cost]:
    """Embed each part, or find it in the store, and combine their features: no backbone is loaded for that."""
    import torch

    model = build({**config, "parts": []})
    embedded = [embed(spec.kind, part, probe, store, trainer) for part in config["parts"]]
    parts = [part for part, _ in embedded]
    with store.locked(spec):
        found = store.read(spec)
        if found is None:
            names = ", ".join(part.header.spec.model for part in parts)
            print(f"{spec.kind} '{spec.model}': made of the features of {names}", flush=True)
            with torch.inference_mode():
                array = model.combine([torch.from_numpy(part.array) for part in parts]).float().numpy()
            about = model.about([part.header.about for part in parts])
            licence = _joint_licence([asdict(licence_of(config)), *(dict(part.header.licence) for part in parts)])
            found = _write(store.folder(spec) / FILE, array, _header(spec, array, about, licence))
    return found, sum((cost for _, cost in embedded), Cost())


def _joint_licence(licences: Sequence[Mapping[str, str]]) -> dict[str, str]:
    """All terms that hold: a derived model's own, if any are stated, and those of its parts."""
    own, *others = licences
    stated = others if own["name"] == NONE_STATED.name else licences
    return {
        key: between.join(dict.fromkeys(licence[key] for licence in stated if licence[key]))
        for key, between in (("name", " + "), ("source", " "), ("how", ", "))
    }


def _truncation(model: Any, probe: ProbeSet) -> dict[str, int]:
    """What an LLM cuts off the captions, to be stored; it is said in one line."""
    if model.kind == "encoder":
        return {}
    truncation = model.truncation(probe.captions)
    if truncation.captions:
        print(truncation.line(model.name), flush=True)
    return truncation.plain()


def _finish(spec: EmbeddingSpec, config: Mapping[str, Any], about: About, shards: Shards) -> Embeddings:
    array = shards.merged()
    header = _header(spec, array, about, asdict(licence_of(config)))
    embeddings = _write(shards.folder.parent / FILE, array, header)
    shards.clear()
    return embeddings


def _header(spec: EmbeddingSpec, array: Array, about: About, licence: Mapping[str, str]) -> Header:
    return Header(
        spec=spec,
        fingerprint=spec.fingerprint,
        dimension=array.shape[1],
        rule=about.rule,
        control=about.control,
        n_parameters=about.n_parameters,
        weights_sha256=about.weights_sha256,
        preprocessing=about.preprocessing,
        licence=licence,
        array_sha256=sha256_of(array),
        libraries={library: version(library) for library in LIBRARIES},
    )


def _write(path: Path, array: Array, header: Header) -> Embeddings:
    write_array(path, array, {"header": header.to_json()})
    return Embeddings(array, header)


def _forget_gpu_bytes() -> None:
    """So that each model's most is its own: a sweep is one process."""
    import torch

    if torch.cuda.is_available():
        torch.cuda.reset_peak_memory_stats()


def _gpu_bytes() -> int:
    import torch

    return torch.cuda.max_memory_allocated() if torch.cuda.is_available() else 0
