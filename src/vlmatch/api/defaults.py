"""The defaults of the command line, read from its yamls without Hydra."""

from collections.abc import Iterable, Mapping
from typing import Any

import yaml

from vlmatch import paths
from vlmatch.errors import VlmatchError
from vlmatch.settings.selection import score_settings


def default_scores() -> list[str]:
    """The names of the scores that `conf/config.yaml` chooses, in its order."""
    config = yaml.safe_load((paths.conf() / "config.yaml").read_text(encoding="utf-8"))
    return list(next(entry["score"] for entry in config["defaults"] if "score" in entry))


def chosen_scores(choice: Iterable[str] | Mapping[str, Any] | None) -> Mapping[str, Any]:
    """The settings of the chosen scores by name: from their yamls, or as a mapping gives them.

    choice: None: the default scores. Raises VlmatchError if a name is unknown, or nothing is chosen.
    """
    if isinstance(choice, str):
        choice = [choice]
    if not isinstance(choice, Mapping):
        choice = {name: score_settings(name) for name in (default_scores() if choice is None else choice)}
    if not choice:
        raise VlmatchError("scores is empty; name at least one, such as scores=['gw']")
    return choice
