"""Settings by name: what `encoder=NAME encoder.KEY=VALUE` means on the command line, for Python."""

from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any

from omegaconf import DictConfig, OmegaConf, open_dict

from vlmatch import paths
from vlmatch.arguments import arguments_of
from vlmatch.configs import chosen, composed, nearest
from vlmatch.embeddings.store import Store
from vlmatch.errors import VlmatchError
from vlmatch.objects import plain, target_named
from vlmatch.settings.buildable import EncoderSettings, LlmSettings
from vlmatch.settings.work import TrainerSettings

AUTO = "auto"
"""The default of `trainer` in Python."""


def encoder(name: str, /, **options: Any) -> EncoderSettings:
    """The settings of an encoder that has a yaml, with other values for some of its keys.

    Raises VlmatchError where no encoder has this name, or a key is unknown or still needs a value.

    >>> import vlmatch
    >>> vlmatch.encoder("pixels16", size=4).plain()["size"]
    4
    """
    return EncoderSettings.of("encoder", settings_named("encoder", name, options))


def llm(name: str, /, **options: Any) -> LlmSettings:
    """The settings of an LLM that has a yaml, with other values for some of its keys.

    Raises VlmatchError where no LLM has this name, or a key is unknown or still needs a value.

    >>> import vlmatch
    >>> vlmatch.llm("smollm2", pooling="mean").pooling
    'mean'
    """
    return LlmSettings.of("llm", settings_named("llm", name, options))


def trainer_settings(trainer: str | Mapping[str, Any] | TrainerSettings) -> TrainerSettings:
    """The trainer with this name, or trainer=auto with other values for some of its keys."""
    if isinstance(trainer, TrainerSettings):
        return trainer
    name, options = (trainer, {}) if isinstance(trainer, str) else (AUTO, trainer)
    return TrainerSettings.of("trainer", settings_named("trainer", name, options))


def settings_named(group: str, name: str, options: Mapping[str, Any]) -> dict[str, Any]:
    """The plain settings of the yaml `name` of a config group, with `options` in place of its values.

    An option may also be an argument of the yaml's class that the yaml lacks, as `+encoder.KEY=VALUE` adds it on the
    command line. Raises VlmatchError if there is no such yaml or key, or if a required value is still missing.
    """
    node = chosen(group, name)
    keys = [str(key) for key in node]  # `in` would not find those that have no value yet
    added = set(options) - set(keys)
    known = arguments_of(target_named(str(node["_target_"]))) if added and "_target_" in keys else []
    for key, value in options.items():
        if key in added and key not in known:
            raise VlmatchError(f"{group}.{key}={value!r} is not a key of {group}={name}; {nearest(key, keys)}")
    root = _root(tuple(paths.conf_folders())).copy()
    with open_dict(root), open_dict(node):
        given = {key: str(value) if isinstance(value, Path) else value for key, value in options.items()}
        root[group] = OmegaConf.merge(node, given)
    return plain(root[group])


@cache
def _root(folders: tuple[Path, ...]) -> DictConfig:
    """The whole default config, because yamls refer to its values; composing it takes half a second."""
    return composed()


def store_of(store: Store | Path | str | None) -> Store:
    """The store in this folder; None: the store of the command line."""
    return store if isinstance(store, Store) else Store(paths.cache() if store is None else Path(store).expanduser())
