"""What may order a pool, and the scores that are computed for it."""

from collections.abc import Mapping
from typing import Any

import yaml

from vlmatch.configs import choices, yaml_path

EVIDENCE, PAPER_RULE = "evidence", "paper"
"""The rules that `selection` may name besides a score."""

PAPER = "gw"
"""The paper's score; the rule 'paper' orders by it."""


def score_settings(name: str) -> Mapping[str, Any]:
    """The settings of the score that has this yaml. Raises VlmatchError if there is none."""
    settings: Mapping[str, Any] = yaml.safe_load(yaml_path("score", name).read_text(encoding="utf-8"))[name]
    return settings


def with_selected(scores: Mapping[str, Any], selection: object) -> dict[str, Any]:
    """Add to `scores`, settings by name, the score of conf/score that `selection` names or needs."""
    name = PAPER if selection == PAPER_RULE else str(selection)
    added = {name: score_settings(name)} if name not in scores and name in choices("score") else {}
    return {**scores, **added}
