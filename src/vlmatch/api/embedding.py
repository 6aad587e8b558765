"""Embed a probe set with a model."""

import tempfile
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any, TypeAlias

from vlmatch.api.models import Model, Precomputed, kind_of, model_of
from vlmatch.api.probes import Probe, probe
from vlmatch.api.scores import as_array
from vlmatch.api.settings import AUTO, store_of, trainer_settings
from vlmatch.embeddings.embed import Cost, embed_by
from vlmatch.embeddings.embed import embed as embed_by_settings
from vlmatch.embeddings.header import EmbeddingSpec, Header
from vlmatch.embeddings.store import Embeddings, Store, sha256_of
from vlmatch.errors import VlmatchError
from vlmatch.machine.processes import launched
from vlmatch.probes.array_file import matched_rows, read_rows
from vlmatch.probes.pairs import ProbeSet
from vlmatch.settings.buildable import ModelSettings
from vlmatch.settings.work import TrainerSettings

Trainer: TypeAlias = str | Mapping[str, Any] | TrainerSettings
"""The name of a yaml in conf/trainer, or other values for keys of trainer=auto, such as {'batch_size': 8}."""


def embed(
    probe_set: Probe,
    model: Model,
    *,
    store: Store | Path | str | None = None,
    trainer: Trainer = AUTO,
    progress: bool = True,
) -> Embeddings:
    """The embeddings of a probe set by one encoder or LLM.

    Parameters
    ----------
    probe_set
        As for `probe`.
    model
        An encoder of images or an LLM: the name of its yaml, settings (`encoder`, `llm`), an own model (`own_encoder`,
        `own_llm`), or `precomputed` embeddings. If an encoder and an LLM have the same name, the encoder is taken.
    store
        The folder that keeps embeddings. Default: the one of the command line.
    trainer
        The name of a yaml in conf/trainer ('auto', 'cpu', 'gpu', ...), or values for keys of 'auto', which takes one
        GPU if torch.cuda finds one, else the CPU, and single precision.
    progress
        Whether lines or a bar show what is done.

    Returns
    -------
    Embeddings
        `array` (n, d) float32, rows in the order of the pairs, and `header`, which says how the numbers were made.
        NumPy takes the value as an array.

    Raises
    ------
    NotHereError
        If the weights are not available.
    VlmatchError
        On bad input, or if the output is not (n, d) finite numbers.

    Examples
    --------
    >>> import vlmatch
    >>> colours = vlmatch.embed("pictures", "mean_colour", progress=False)
    >>> colours.array.shape, colours.header.rule
    ((12, 3), 'mean colour')
    """
    pairs = probe(probe_set)
    found, _ = embedded(
        model_of(kind_of(model), model), pairs, store_of(store), trainer_settings(trainer), progress=progress
    )
    return found


def embedded(
    model: Any, probe: ProbeSet, store: Store, trainer: TrainerSettings, *, progress: bool = True
) -> tuple[Embeddings, Cost]:
    """Embed `probe` with a model from `model_of`; returns embeddings and cost. Stored if the model has an identity.

    Raises VlmatchError if the model has no identity and a launcher started several processes: they share only the
    store.
    """
    if isinstance(model, ModelSettings):
        return embed_by_settings(model, probe, store, trainer, progress=progress)
    if isinstance(model, Precomputed):
        return _from_elsewhere(model, probe, str(trainer.precision)), Cost()
    version, spec = getattr(model, "identity", None), _own_spec(model, probe, trainer)
    if version is None and launched():
        raise VlmatchError(
            f"{model.kind} '{model.name}': version=None, so its embeddings are not stored, and several processes can't "
            "share them; give it a version, or start one process"
        )
    from vlmatch.embeddings.own import restored

    with restored(model):
        if version is not None:
            return embed_by(lambda: model, spec, probe, store, trainer, progress=progress)
        with tempfile.TemporaryDirectory(prefix="vlmatch-") as folder:
            return embed_by(lambda: model, spec, probe, Store(folder), trainer, progress=progress)


def is_stored(model: Any) -> bool:
    """Whether embeddings by this model are kept in the store, so that scores of them may be kept too."""
    return isinstance(model, ModelSettings) or getattr(model, "identity", None) is not None


def stored_as(model: Any, probe: ProbeSet, trainer: TrainerSettings) -> str | None:
    """The fingerprint that embeddings by this model from `model_of` have in the store; None if they are not stored.

    None too if there can be none, because the model's class can't be found.
    """
    if not is_stored(model):
        return None
    try:
        own = not isinstance(model, ModelSettings)
        spec = _own_spec(model, probe, trainer) if own else EmbeddingSpec.of(model, probe, trainer.precision)
    except VlmatchError:
        return None
    return spec.fingerprint


def _own_spec(model: Any, probe: ProbeSet, trainer: TrainerSettings) -> EmbeddingSpec:
    """The spec of embeddings by a user's own model, or by one of our models that is built already."""
    settings = {"own": getattr(model, "identity", None)}
    stated = getattr(model, "stated", {})  # one of our own built models has none
    return replace(_spec(model.kind, model.name, settings, probe, str(trainer.precision)), stated=stated)


def _from_elsewhere(model: Precomputed, probe: ProbeSet, precision: str) -> Embeddings:
    kind = model.kind
    ids = [pair.id for pair in probe.pairs]
    what = f"{kind} '{model.name}'"
    if isinstance(model.embeddings, str | Path):
        array = read_rows(what, Path(model.embeddings).expanduser(), ids)
    else:
        array = matched_rows(what, as_array(model.embeddings), model.ids, ids)
    digest = sha256_of(array)
    spec = replace(_spec(kind, model.name, {"array_sha256": digest}, probe, precision), stated=model.stated)
    header = Header(
        spec=spec,
        fingerprint=spec.fingerprint,
        dimension=array.shape[1],
        rule="precomputed",
        control=False,
        n_parameters=model.n_parameters,
        weights_sha256=None,
        preprocessing={},
        licence={"name": "none stated", "source": "", "how": "none stated"},
        array_sha256=digest,
    )
    return Embeddings(array, header)


def _spec(kind: str, name: str, settings: Mapping[str, Any], probe: ProbeSet, precision: str) -> EmbeddingSpec:
    """The spec of embeddings by a model without a yaml; they are grouped with the default feature rule or layer."""
    return EmbeddingSpec(kind, name, settings, 0, probe.key, probe.fingerprint, len(probe), precision)
