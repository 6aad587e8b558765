"""Every encoder and LLM that has a yaml: where its weights are, its licence, and whether that allows commercial use."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from omegaconf import DictConfig, OmegaConf, open_dict

from vlmatch.configs import choices, chosen
from vlmatch.encoders.catalogue import catalogue
from vlmatch.objects import plain
from vlmatch.packages.availability import UNNAMED, Availability, availability
from vlmatch.packages.licences import NONE_STATED, Licence, Terms, licence_of, terms_of
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
        found = terms(described, name)
        return cls(kind, name, availability(described.plain()), found.licence.name, found.commercial_use)


def model(root: DictConfig, kind: str, name: str, overrides: Mapping[str, Any] | None = None) -> Model:
    """One model by the name of its yaml, which is put into the whole config `root`; `overrides` change its keys."""
    with open_dict(root):
        loaded = chosen(kind, name)
        keys = [str(key) for key in loaded]  # `in` would not find those that have no value yet
        root[kind] = OmegaConf.merge(loaded, {key: value for key, value in (overrides or {}).items() if key in keys})
    return Model.of(kind, name, root[kind])


def models(root: DictConfig) -> Iterator[Model]:
    """Every encoder, then every LLM, by name."""
    root = root.copy()
    for kind in KINDS:
        for name in choices(kind):
            yield model(root, kind, name)


def terms(model: ModelSettings, name: str) -> Terms:
    """The licence of a model (or the licences of its parts), and whether it allows commercial use.

    name: of its row in the catalogue.
    """
    own = licence_of(model.plain())
    if own.how == NONE_STATED.how and model.parts:
        each = [terms(part, part.name).licence for part in model.parts]
        own = Licence(" AND ".join(dict.fromkeys(licence.name for licence in each)), "its parts", each[0].how)
    entry = catalogue().get(name) if model.kind == "encoder" else None
    return terms_of(own, None if entry is None else entry.terms)
