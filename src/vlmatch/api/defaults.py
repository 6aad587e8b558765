"""What the command line does unless told otherwise, read from its yamls without Hydra."""

from collections.abc import Mapping
from typing import Any

import yaml

from vlmatch import paths
from vlmatch.configs import yaml_path


def default_scores() -> list[str]:
    """The names of the scores that `conf/config.yaml` chooses, in its order."""
    chosen = {group: names for entry in _config()["defaults"] for group, names in _items(entry)}
    return list(chosen["score"])


def default_selection() -> list[str]:
    """The scores that the pick may come from, in the order of `conf/config.yaml`."""
    return list(_config()["selection"])


def score_settings(name: str) -> Mapping[str, Any]:
    """The settings of a score: what its yaml says. Raises VlmatchError where no config folder has one of that name."""
    settings: Mapping[str, Any] = yaml.safe_load(yaml_path("score", name).read_text(encoding="utf-8"))[name]
    return settings


def _config() -> dict[str, Any]:
    config: dict[str, Any] = yaml.safe_load((paths.conf() / "config.yaml").read_text(encoding="utf-8"))
    return config


def _items(entry: Any) -> list[tuple[str, Any]]:
    return list(entry.items()) if isinstance(entry, Mapping) else []
