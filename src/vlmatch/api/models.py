"""Models of any origin behind one function that embeds: by name, by settings, of your own, or already embedded."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol, TypeAlias

from numpy.typing import ArrayLike

from vlmatch.api.settings import encoder, llm
from vlmatch.configs import choices, nearest, unknown_choice
from vlmatch.embeddings.header import slug_of
from vlmatch.encoders.spec_sheet import STATED
from vlmatch.errors import VlmatchError
from vlmatch.files import require_folder_name
from vlmatch.objects import target_named
from vlmatch.settings.buildable import MODELS, ModelSettings
from vlmatch.settings.work import TrainerSettings

if TYPE_CHECKING:
    from vlmatch.embeddings.own import OwnModel


EXAMPLES = {"encoder": "mobilenetv2", "llm": "smollm2"}


@dataclass(frozen=True, eq=False)
class Precomputed:
    """Embeddings that were computed elsewhere; `precomputed` makes them."""

    name: str
    embeddings: Any
    ids: Sequence[str] | None = None
    n_parameters: int | None = None
    kind: str = "encoder"
    stated: Mapping[str, Any] = field(default_factory=dict)


class Prepares(Protocol):
    """An object of the user's with `prepare` and `features`, or a model of ours that is built."""

    @property
    def prepare(self) -> Callable[[Any], Any]:
        """One image or caption -> the model's input."""


Model: TypeAlias = str | Mapping[str, Any] | ModelSettings | Precomputed | Prepares
"""A model: its name, settings, an object with `prepare` and `features`, or precomputed embeddings."""


def own_encoder(
    name: str,
    prepare: Callable[[Any], Any],
    features: Callable[[Any], Any],
    *,
    version: str | None = None,
    n_parameters: int | None = None,
    language_supervised: bool | None = None,
    tokens: int | None = None,
) -> "OwnModel":
    """An encoder of your own, made of two functions; no yaml is needed.

    Parameters
    ----------
    name
        How tables call it.
    prepare
        One RGB PIL image -> a tensor, of the same shape for all images. Threads call it at the same time.
    features
        A stacked batch of such tensors -> (n, d), a tensor or array.
    version
        Names these functions and weights. With a version, embeddings are stored and found again under it: give another
        version whenever functions or weights change. Without a version, nothing is stored.
    n_parameters
        The size of the encoder. Default: that of the torch modules that `features` uses.
    language_supervised
        Whether the encoder was trained with text, for the rule of `fed="patches"`. None: not known; the rule then gives
        the encoder the middle rank of the pool.
    tokens
        How many tokens the encoder feeds the LLM, for the same rule.

    Modules that `features` uses run in eval mode on the trainer's device; afterwards they are as before, including
    their device and their mode. The batch is on that device too: with trainer='cpu' it stays on the CPU. An object that
    has `prepare`, `features` and, if wanted, `name`, `version`, `language_supervised` and `tokens` can be given to
    `rank` and `embed` as it is.

    Embedding with it raises VlmatchError if features are not (n, d), hold NaN, or differ when the first image is
    embedded again.

    >>> import vlmatch, numpy as np
    >>> tiny = vlmatch.own_encoder("tiny", lambda image: np.asarray(image.resize((4, 4))) / 255.0,
    ...                            lambda batch: batch.flatten(1))
    >>> tiny.name
    'tiny'
    """
    stated = _stated(name, language_supervised, tokens)
    return _own("encoder", name, prepare, features, version, n_parameters, stated)


def own_llm(
    name: str,
    prepare: Callable[[str], Any],
    features: Callable[[Any], Any],
    *,
    version: str | None = None,
) -> "OwnModel":
    """An LLM of your own, or any other model of text, made of two functions.

    prepare: one caption -> anything. features: the list of what `prepare` gave for n captions -> (n, d). Everything
    else is as for `own_encoder`.

    >>> import vlmatch
    >>> vlmatch.own_llm("lengths", str, lambda texts: [[len(text), text.count(" ")] for text in texts]).kind
    'llm'
    """
    return _own("llm", name, prepare, features, version, None)


def precomputed(
    name: str,
    embeddings: ArrayLike | str | Path,
    *,
    ids: Sequence[str] | None = None,
    n_parameters: int | None = None,
    language_supervised: bool | None = None,
    tokens: int | None = None,
) -> Precomputed:
    """Embeddings from elsewhere, in place of an encoder or LLM.

    embeddings: an (n, d) array, NumPy or torch, or the path of a .npy, .safetensors or .parquet file. ids: for each row
    of the array, the id of its pair in the probe; without ids, row i belongs to pair i. language_supervised, tokens: of
    an encoder, as for `own_encoder`.

    Using them raises VlmatchError if they are not (n, d) finite numbers, or don't fit the probe.

    >>> import vlmatch, numpy as np
    >>> vlmatch.precomputed("mine", np.zeros((3, 2))).name
    'mine'
    """
    return Precomputed(name, embeddings, ids, n_parameters, stated=_stated(name, language_supervised, tokens))


def model_of(kind: str, given: Model) -> Any:
    """Turn what a caller gave as an encoder or LLM into something that `embedded` takes.

    Raises VlmatchError if it is not a model, or is a model of the other kind.
    """
    if isinstance(given, str):
        return (encoder if kind == "encoder" else llm)(given)
    if isinstance(given, Mapping):
        return MODELS[kind].of(kind, given)
    if isinstance(given, Precomputed):
        require_folder_name(f"{kind}.name", given.name)
        return replace(given, kind=kind)
    found: Any = given if getattr(given, "kind", None) in MODELS else _of_object(kind, given)
    if found.kind != kind:
        raise VlmatchError(f"'{found.name}' is an {found.kind}; wanted an {kind}")
    require_folder_name(f"{kind}.name", found.name)
    return found


def kind_of(given: Model) -> str:
    """'encoder' or 'llm': the kind of a model. If an encoder and an LLM have the same name, it is 'encoder'.

    Raises VlmatchError if a name belongs to neither.
    """
    if isinstance(given, str):
        found = next((kind for kind in MODELS if given in choices(kind)), None)
        if found is None:
            line = unknown_choice("encoder", given)
            raise VlmatchError(f"{line} It is not an LLM either: {nearest(given, choices('llm'))}")
        return found
    if isinstance(given, Mapping) and "_target_" in given:
        return str(getattr(target_named(str(given["_target_"])), "kind", "encoder"))
    kind = str(getattr(given, "kind", ""))
    return kind if kind in MODELS else "encoder"


def models_of(kind: str, given: Any, trainer: TrainerSettings) -> list[Any]:
    """The models of one side of a pool. Raises VlmatchError if there are none, or if two have the same name."""
    several = isinstance(given, Sequence) and not isinstance(given, str)
    models = [model_of(kind, each) for each in (given if several else [given])]
    if not models:
        raise VlmatchError(f"{kind}s={given!r} is empty; name at least one, such as {kind}s=['{EXAMPLES[kind]}']")
    labels = [_label(model, trainer) for model in models]
    for place, label in enumerate(labels):
        if label in labels[:place]:
            raise VlmatchError(f"{kind}s: two of them have the name '{label[0]}'; give each a name of its own")
    return models


def _stated(name: str, language_supervised: Any, tokens: Any) -> dict[str, Any]:
    """What the user states about an encoder's spec sheet, by name. Raises VlmatchError on a wrong type."""
    if not isinstance(language_supervised, bool | None):
        raise VlmatchError(f"encoder '{name}': language_supervised={language_supervised!r}; wanted True, False or None")
    if tokens is not None and (isinstance(tokens, bool) or not isinstance(tokens, int) or tokens < 1):
        raise VlmatchError(f"encoder '{name}': tokens={tokens!r}; wanted a whole number of at least 1, or None")
    given = dict(zip(STATED, (language_supervised, tokens), strict=True))
    return {key: value for key, value in given.items() if value is not None}


def _own(
    kind: str,
    name: str,
    prepare: Any,
    features: Any,
    version: str | None,
    n_parameters: int | None,
    stated: Mapping[str, Any] | None = None,
) -> Any:
    from vlmatch.embeddings.own import OwnModel

    for argument, value in (("prepare", prepare), ("features", features)):
        if not callable(value):
            raise VlmatchError(f"{kind} '{name}': {argument}={value!r} is not a function; give a function")
    if version is not None and not (isinstance(version, str) and version):
        raise VlmatchError(f"{kind} '{name}': version={version!r}; give text that changes with the model, or None")
    require_folder_name(f"{kind}.name", name)
    return OwnModel(kind, name, prepare, features, version, n_parameters, stated)


def _of_object(kind: str, given: Any) -> Any:
    """An object of the user's with `prepare` and `features`, as an own model."""
    if not (callable(getattr(given, "prepare", None)) and callable(getattr(given, "features", None))):
        shown = f"an array, {type(given).__name__}" if hasattr(given, "shape") else repr(given)[:80]
        raise VlmatchError(
            f"{kind}={shown} is not an {kind}; give a name, settings, an object with prepare and features, or "
            "embeddings as vlmatch.precomputed(name, array)"
        )
    name = str(getattr(given, "name", type(given).__name__))
    # A library's object may have a method called `tokens`, which states nothing.
    told = [value if not callable(value) else None for value in (getattr(given, key, None) for key in STATED)]
    stated = _stated(name, *told) if kind == "encoder" else {}
    return _own(kind, name, given.prepare, given.features, getattr(given, "version", None), None, stated)


def _label(model: Any, trainer: TrainerSettings) -> tuple[str, str]:
    """What distinguishes a model from others in tables: its name and the choices that a user sweeps.

    A model without a yaml counts as one with the default choices, as in `api.embedding`.
    """
    plain = model.plain() if isinstance(model, ModelSettings) else {}
    return str(model.name), slug_of(model.kind, plain, trainer.precision)
