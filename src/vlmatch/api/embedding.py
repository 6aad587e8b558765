"""Embed a probe set by a model."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, TypeAlias

from vlmatch.api.models import Model, embedded, kind_of, model_of
from vlmatch.api.probes import Probe, probe
from vlmatch.api.settings import AUTO, store_of, trainer_settings
from vlmatch.embeddings.store import Embeddings, Store
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
        `own_llm`), or `precomputed` embeddings. If an encoder and an LLM have the same
        name, the encoder is taken.
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
        `array` (n, d) float32, rows in the order of the pairs, and `header`, which says what decided the numbers. NumPy
        takes the value as an array.

    Raises
    ------
    NotHereError
        Where the weights can't be had.
    VlmatchError
        On bad input, and where the output is not (n, d) finite numbers.

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
