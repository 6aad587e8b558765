"""Every encoder and LLM that has a yaml: where its weights are, its licence, and whether that allows commercial use."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from omegaconf import DictConfig, OmegaConf, open_dict

from vlmatch.configs import choices, chosen
from vlmatch.encoders.catalogue import catalogue
from vlmatch.objects import plain
from vlmatch.packages.availability import UNNAMED, Availability, availability
from vlmatch.packages.licences import Licence, commercial_use_by, licence_of
from vlmatch.settings.buildable import MODELS, ModelSettings

KINDS = ("encoder", "llm")


@dataclass(frozen=True)
class Model:
    """One yaml of `conf/encoder` or `conf/llm`."""

    kind: str
    name: str
    availability: Availability
    licence: str
    commercial_use: str

    @classmethod
    def of(cls, kind: str, name: str, node: DictConfig) -> "Model":
        """The model that a node of the whole config describes; `name` is that of its yaml file.

        Raises omegaconf's errors, with their cause behind them, if a value can't be resolved.
        """
        wanted = [key for key in node if OmegaConf.is_missing(node, key) or (key == "members" and node[key] is None)]
        if wanted:
            given = " ".join(f"{kind}.{key!s}=..." for key in wanted)
            return cls(kind, name, Availability(UNNAMED, given), "yours to know", "-")
        described = MODELS[kind].of(kind, plain(node))
        licence = stated_licence(described, name).name
        return cls(kind, name, availability(described.plain()), licence, commercial_use(kind, name, licence))


def model(root: DictConfig, kind: str, name: str, overrides: Mapping[str, Any] | None = None) -> Model:
    """One model by the name of its yaml, which is put into the whole config `root`; `overrides` change its keys."""
    with open_dict(root):
        loaded = chosen(kind, name)
        root[kind] = OmegaConf.merge(loaded, {key: value for key, value in (overrides or {}).items() if key in loaded})
    return Model.of(kind, name, root[kind])


def models(root: DictConfig) -> Iterator[Model]:
    """Every encoder, then every LLM, by name."""
    root = root.copy()
    for kind in KINDS:
        for name in choices(kind):
            yield model(root, kind, name)


def stated_licence(model: ModelSettings, name: str) -> Licence:
    """The licence that its package or yaml states, else those of its parts, else that of `name` in the catalogue."""
    own = licence_of(model.plain())
    if own.how != "none stated":
        return own
    if model.parts:
        each = [stated_licence(part, part.name) for part in model.parts]
        return Licence(" AND ".join(dict.fromkeys(licence.name for licence in each)), "its parts", each[0].how)
    entry = catalogue().get(name) if model.kind == "encoder" else None
    return own if entry is None else Licence(entry.licence, entry.source_licence or "", "catalogue")


def commercial_use(kind: str, name: str, licence: str) -> str:
    """'yes', 'no', 'terms' or 'unclear': as the catalogue says, else as the licence's name does."""
    entry = catalogue().get(name) if kind == "encoder" else None
    return commercial_use_by(licence) if entry is None else entry.commercial_use
