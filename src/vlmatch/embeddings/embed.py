"""Embeddings of a probe set by a model: read from the store if they are fresh, else computed, resuming a killed run."""

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from functools import partial
from importlib.metadata import version
from pathlib import Path
from typing import Any

from vlmatch.embeddings.header import ITEMS, EmbeddingSpec, Header
from vlmatch.embeddings.measured import Measured, read_measured, write_measured
from vlmatch.embeddings.order import row_order
from vlmatch.embeddings.store import FILE, Array, Embeddings, Shards, Store, sha256_of, write_array
from vlmatch.encoders.about import About
from vlmatch.errors import VlmatchError
from vlmatch.foreign import model_faults
from vlmatch.machine.processes import launched, process_rank
from vlmatch.packages.licences import NONE_STATED, Licence, licence_of
from vlmatch.probes.pairs import ProbeSet
from vlmatch.settings.buildable import ModelSettings
from vlmatch.settings.work import TrainerSettings

LIBRARIES = ("torch", "torchvision", "open_clip_torch", "timm", "transformers", "onnx2torch")


@dataclass(frozen=True)
class Cost:
    """What embedding cost in this run; all zero if the store already had the embeddings.

    measured: what was measured when the embeddings were computed, by this run or an earlier one.
    """

    seconds: float = 0.0
    items: int = 0
    gpu_bytes: int = 0
    measured: Measured | None = None

    def __add__(self, other: "Cost") -> "Cost":
        """The cost of both, one after the other, without what was `measured`."""
        return Cost(self.seconds + other.seconds, self.items + other.items, max(self.gpu_bytes, other.gpu_bytes))


def embed(
    model: ModelSettings,
    probe: ProbeSet,
    store: Store,
    trainer: TrainerSettings,
    *,
    progress: bool = True,
    make: Callable[[], Any] | None = None,
) -> tuple[Embeddings, Cost]:
    """Embeddings of `probe` by an encoder or LLM, and what they cost.

    make: gives the built model, for a caller who needs it too; None: `model.build`.
    If the model is made of others (`parts`), the embeddings of the parts are combined. Those are stored under the names
    of the parts, and the cost is theirs. Everything else is as for `embed_by`.
    """
    spec = EmbeddingSpec.of(model, probe, trainer.precision)
    if model.parts:
        return _kept(spec, store) or _combine(spec, model, probe, store, trainer, progress)
    licence = partial(licence_of, model.plain())
    return embed_by(make or model.build, spec, probe, store, trainer, licence=licence, progress=progress)


def embed_by(
    make: Callable[[], Any],
    spec: EmbeddingSpec,
    probe: ProbeSet,
    store: Store,
    trainer: TrainerSettings,
    *,
    licence: Callable[[], Licence] = lambda: NONE_STATED,
    progress: bool = True,
) -> tuple[Embeddings, Cost]:
    """Embeddings of `probe` by the model that `make` gives, and what they cost: from the store if it has them.

    spec: what the embeddings are stored as. licence: gives the licence; called after `make`, when the model's package
    is here. progress: whether lines or a bar show what is done.

    Two processes never compute the same embeddings: the second waits, then reads. Embeddings that are stale or damaged
    are computed again.
    Raises NotHereError if the weights are not available, VlmatchError if the output is not (n, d) finite numbers.
    """
    kept = _kept(spec, store)  # all ranks of a torchrun do this, so that either all compute or none
    if kept is not None:
        return kept
    shards = Shards(store.folder(spec), spec.fingerprint, row_order(spec.kind, probe), trainer.shard_size)
    if process_rank() > 0:  # rank 0 of a torchrun holds the lock for all, until the array is whole
        return _computed_by_all(make(), spec, probe, store, shards, trainer), Cost()
    with store.locked(spec):
        found = store.read(spec)
        if found is not None:
            return found, Cost(measured=read_measured(store, spec))
        started = time.perf_counter()
        _forget_gpu_bytes()
        model = make()
        if _is_precomputed(model):
            return _stored_elsewhere(model, spec, probe, store, asdict(licence())), Cost()
        items = _announce(spec, shards, progress)
        cut = cut_off(model, probe, progress)
        measured = _fill(model, probe, shards, trainer, progress)
        about = About.of(model)
        about = replace(about, preprocessing={**about.preprocessing, **cut})
        embeddings = _finish(spec, about, asdict(licence()), shards)
        if measured is not None:
            write_measured(store, spec, measured)
        return embeddings, Cost(time.perf_counter() - started, items, _gpu_bytes(), measured)


def _kept(spec: EmbeddingSpec, store: Store) -> tuple[Embeddings, Cost] | None:
    """The embeddings in the store, which then also holds what `spec` states; None if it has none."""
    found = store.read(spec)
    if found is None:
        return None
    if process_rank() == 0:
        store.restate(found)
    return found, Cost(measured=read_measured(store, spec))


def _computed_by_all(
    model: Any, spec: EmbeddingSpec, probe: ProbeSet, store: Store, shards: Shards, trainer: TrainerSettings
) -> Embeddings:
    """Compute the share of a process other than rank 0, then read what rank 0 wrote."""
    if not _is_precomputed(model):
        _fill(model, probe, shards, trainer, progress=False)
    with store.locked(spec):
        found = store.read(spec)
    if found is None:
        raise VlmatchError(f"{spec.kind} '{spec.model}': rank 0 failed to write the embeddings; its message says why")
    return found


def _stored_elsewhere(
    model: Any, spec: EmbeddingSpec, probe: ProbeSet, store: Store, licence: Mapping[str, str]
) -> Embeddings:
    """Match precomputed embeddings with the probe and put them into the store."""
    array = model.stored_rows([pair.id for pair in probe.pairs])
    return written(store.folder(spec) / FILE, array, header_of(spec, array, About.of(model), licence))


def _is_precomputed(model: Any) -> bool:
    """Whether there are only embeddings and no model."""
    return hasattr(model, "stored_rows")


def _fill(model: Any, probe: ProbeSet, shards: Shards, trainer: TrainerSettings, progress: bool) -> Measured | None:
    # Each of several processes takes part, even if it has nothing to compute: the others wait for it at the loop's end.
    if not launched() and not shards.missing():
        return None
    from vlmatch.embeddings.predict import predict_missing

    return predict_missing(model, probe, shards, trainer, progress=progress)


def _announce(spec: EmbeddingSpec, shards: Shards, progress: bool) -> int:
    """Print what will be computed, and why, if there are embeddings of this name; return the number of items."""
    items = sum(len(shards.rows(shard)) for shard in shards.missing())
    other = " (the stored embeddings of this name are damaged, or of another model or other settings)"
    again = other if (shards.folder.parent / FILE).exists() else ""
    dtype = "" if spec.precision == "32-true" else f", forward pass in {spec.precision}"
    line = f"{spec.kind} '{spec.model}': embedding {items} of {len(shards.order)} {ITEMS[spec.kind]}{dtype}{again}"
    if progress:
        print(line, flush=True)
    return items


def _combine(
    spec: EmbeddingSpec,
    settings: ModelSettings,
    probe: ProbeSet,
    store: Store,
    trainer: TrainerSettings,
    progress: bool,
) -> tuple[Embeddings, Cost]:
    """Embed each part, or read it from the store, and combine the features; stored parts are not loaded as models."""
    import torch

    model = settings.changed(parts=[]).build()
    embedded = [embed(part, probe, store, trainer, progress=progress) for part in settings.parts]
    parts = [part for part, _ in embedded]
    with store.locked(spec):
        found = store.read(spec)
        if found is None:
            names = ", ".join(part.header.spec.model for part in parts)
            if progress:
                print(f"{spec.kind} '{spec.model}': made of the features of {names}", flush=True)
            with torch.inference_mode():
                array = model.combine([torch.from_numpy(part.array) for part in parts]).float().numpy()
            about = model.about([part.header.about for part in parts])
            licence = _joint_licence(
                [asdict(licence_of(settings.plain())), *(dict(part.header.licence) for part in parts)]
            )
            found = written(store.folder(spec) / FILE, array, header_of(spec, array, about, licence))
    measured = Measured.together([cost.measured for _, cost in embedded])
    if measured is not None:
        write_measured(store, spec, measured)
    return found, replace(sum((cost for _, cost in embedded), Cost()), measured=measured)


def _joint_licence(licences: Sequence[Mapping[str, str]]) -> dict[str, str]:
    """All licence terms that apply: a derived model's own, if it states any, and those of its parts."""
    own, *others = licences
    stated = others if own["name"] == NONE_STATED.name else licences
    return {
        key: between.join(dict.fromkeys(licence[key] for licence in stated if licence[key]))
        for key, between in (("name", " + "), ("source", " "), ("how", ", "))
    }


def cut_off(model: Any, probe: ProbeSet, progress: bool) -> dict[str, int]:
    """What an LLM cuts off the captions, as it is stored; one printed line says it too."""
    with model_faults(model.kind, model.name, "counting tokens", f"try it: task=check {model.kind}={model.name}"):
        truncation = None if model.kind == "encoder" else model.truncation(probe.captions)
    if truncation is None:
        return {}
    if truncation.captions and progress:
        print(truncation.line(model.name), flush=True)
    return dict(truncation.plain())


def _finish(spec: EmbeddingSpec, about: About, licence: Mapping[str, str], shards: Shards) -> Embeddings:
    array = shards.merged()
    embeddings = written(shards.folder.parent / FILE, array, header_of(spec, array, about, licence))
    shards.clear()
    return embeddings


def header_of(spec: EmbeddingSpec, array: Array, about: About, licence: Mapping[str, str]) -> Header:
    """What is stored with an array (n, d) that a model computed."""
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


def written(path: Path, array: Array, header: Header) -> Embeddings:
    """Write an array and its header, and return both."""
    write_array(path, array, {"header": header.to_json()})
    return Embeddings(array, header)


def _forget_gpu_bytes() -> None:
    """Reset the GPU's peak memory, because one process embeds several models in turn."""
    import torch

    if torch.cuda.is_available():
        torch.cuda.reset_peak_memory_stats()


def _gpu_bytes() -> int:
    import torch

    return torch.cuda.max_memory_allocated() if torch.cuda.is_available() else 0
