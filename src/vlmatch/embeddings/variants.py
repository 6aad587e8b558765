"""Embed by several layers and poolings of one model in one forward pass, and store each as if computed alone."""

import hashlib
import shutil
from collections.abc import Callable, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from vlmatch.embeddings.counting import counted
from vlmatch.embeddings.embed import cut_off, header_of, written
from vlmatch.embeddings.header import ITEMS, EmbeddingSpec
from vlmatch.embeddings.measured import Measured, write_measured
from vlmatch.embeddings.order import row_order
from vlmatch.embeddings.predict import predict_missing
from vlmatch.embeddings.store import FILE, Embeddings, Shards, Store
from vlmatch.encoders.about import About
from vlmatch.errors import VlmatchError
from vlmatch.foreign import model_faults
from vlmatch.machine.processes import launched
from vlmatch.machine.waiting import locked
from vlmatch.packages.licences import licence_of
from vlmatch.probes.pairs import ProbeSet
from vlmatch.settings.buildable import EncoderSettings, LlmSettings
from vlmatch.settings.work import TrainerSettings

Settings = EncoderSettings | LlmSettings
Asked = tuple[Settings, EmbeddingSpec]


class SideBySide(nn.Module):
    """A model that gives the embeddings of several layers and poolings in one row: (n, d_1 + d_2 + ...).

    wanted: layer and pooling (of an encoder: feature) of each, as `model.variants` takes them.
    """

    def __init__(self, model: Any, wanted: Sequence[tuple[int, str]]) -> None:
        super().__init__()
        self.model, self.wanted = model, list(wanted)
        self.kind, self.name = model.kind, model.name
        self.prepare, self.collate = model.prepare, model.collate

    def forward(self, batch: Any) -> Tensor:
        """The embeddings of a batch, side by side."""
        return torch.cat(self.model.variants(batch, self.wanted), dim=1)

    @torch.inference_mode()
    def tried(self, item: Any) -> tuple[Any, list[int]]:
        """Run one image or caption; return it as a batch, and the widths d_1, d_2, ... of its embeddings."""
        with model_faults(self.kind, self.name, "running one input", f"try it: task=check {self.kind}={self.name}"):
            batch = self.collate([self.prepare(item)])
            return batch, [each.shape[1] for each in self.model.eval().variants(batch, self.wanted)]


def embed_variants(
    variants: Sequence[Settings],
    probe: ProbeSet,
    store: Store,
    trainer: TrainerSettings,
    *,
    progress: bool = True,
    make: Callable[[], Any] | None = None,
) -> list[Embeddings]:
    """The embeddings of `probe` by each of `variants`: settings of one model that differ in layer and pooling alone.

    What the store lacks is computed in one forward pass and stored under each spec. The same command resumes a killed
    run. Each variant must name its layer. Two processes never compute the same: the second waits, then reads.
    progress: whether lines or a bar show what is done. make: gives the built model; None: `variants[0].build`.
    Raises VlmatchError on a layer that the model lacks, and if a launcher started several processes.
    """
    if launched():
        raise VlmatchError("several layers at once are embedded by one process; start it without a launcher")
    specs = [EmbeddingSpec.of(each, probe, trainer.precision) for each in variants]
    asked = list(zip(variants, specs, strict=True))
    if _lacking(asked, store):
        folder = _folder(variants[0], probe, store, trainer)
        with locked(folder.with_name(f".{folder.name}.lock"), f"embedding by {specs[0].kind} '{specs[0].model}'"):
            if lacking := _lacking(asked, store):  # still, after waiting for another process
                _compute(lacking, folder, make or variants[0].build, probe, store, trainer, progress)
    found = [store.read(spec) for spec in specs]
    whole = [each for each in found if each is not None]
    if len(whole) < len(found):
        raise VlmatchError(f"store={store.root}: embeddings were removed while in use; run the same command again")
    return whole


def _lacking(asked: Sequence[Asked], store: Store) -> list[Asked]:
    """The variants that the store does not have, each once."""
    return list({spec.fingerprint: (each, spec) for each, spec in asked if store.read(spec) is None}.values())


def _folder(settings: Settings, probe: ProbeSet, store: Store, trainer: TrainerSettings) -> Path:
    """Where the shards of all layers and poolings of a model lie until all are computed."""
    pooling = {"feature": "paper"} if isinstance(settings, EncoderSettings) else {"pooling": "last"}
    spec = EmbeddingSpec.of(settings.changed(layer=1, **pooling), probe, trainer.precision)
    folder = store.folder(spec).with_name(f"layers-{spec.fingerprint[:8]}")
    folder.parent.mkdir(parents=True, exist_ok=True)
    return folder


def _compute(
    lacking: Sequence[Asked],
    folder: Path,
    make: Callable[[], Any],
    probe: ProbeSet,
    store: Store,
    trainer: TrainerSettings,
    progress: bool,
) -> None:
    settings, spec = lacking[0]
    joint = hashlib.sha256("".join(each.fingerprint for _, each in lacking).encode()).hexdigest()
    shards = Shards(folder, joint, row_order(spec.kind, probe), trainer.shard_size)
    model, measured = make(), None
    choices = [_choice(each) for each, _ in lacking]
    for choice in choices:
        model.choose(*choice)  # raises if the model does not have this layer or pooling
    together = SideBySide(model, choices)
    one, widths = together.tried(probe.image(0) if spec.kind == "encoder" else probe.captions[0])
    cut = cut_off(model, probe, progress)
    if todo := sum(len(shards.rows(shard)) for shard in shards.missing()):
        if progress:
            print(
                f"{spec.kind} '{spec.model}': embedding {todo} of {len(probe)} {ITEMS[spec.kind]} by "
                f"{len(lacking)} layers and poolings in one pass",
                flush=True,
            )
        measured = predict_missing(together, probe, shards, trainer, progress=progress)
    licence = asdict(licence_of(settings.plain()))
    arrays = np.split(shards.merged(), np.cumsum(widths)[:-1], axis=1)
    for choice, (_, own), array in zip(choices, lacking, arrays, strict=True):
        model.choose(*choice)
        about = About.of(model)
        about = replace(about, preprocessing={**about.preprocessing, **cut})
        with store.locked(own) as place:
            written(place / FILE, np.ascontiguousarray(array), header_of(own, array, about, licence))
        if measured is not None:  # the time of the joint pass, which takes little longer than the last layer alone
            write_measured(store, own, _counted_alone(measured, model, one))
    shutil.rmtree(folder)


@torch.inference_mode()
def _counted_alone(measured: Measured, model: Any, one: Any) -> Measured:
    """The measurement with the operations and tokens of the layer that the model's `choose` has set."""
    if model.kind != "encoder":
        return measured
    alone = counted(model, one)
    return replace(measured, gflops=alone.gflops, tokens=alone.tokens)


def _choice(settings: Settings) -> tuple[int, str]:
    """The layer, and an encoder's feature or an LLM's pooling."""
    if settings.layer is None:
        raise VlmatchError(f"{settings.kind} '{settings.name}': layer=null; give a layer")
    return settings.layer, settings.feature if isinstance(settings, EncoderSettings) else settings.pooling
