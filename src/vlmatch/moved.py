"""Classes that moved: stored settings name a class by the place it had when they were written.

Fingerprints hash the first name that a class was stored under, so that a move changes no fingerprint: embeddings,
result files and trained VLMs from before count as they are. Whoever builds from stored settings maps the names on.
"""

from collections.abc import Mapping
from typing import Any

FIRST_NAMES = {
    "vlmatch_study.trained_convnet.TrainedConvnet": "vlmatch.encoders.trained_here.TrainedConvnet",
}
"""By today's name of a class, the name that it was first stored under. Add a line when a class moves."""

_TODAY = {first: today for today, first in FIRST_NAMES.items()}


def to_first_names(settings: Any) -> Any:
    """Plain settings with every `_target_` as it was first stored: what a fingerprint hashes."""
    return _renamed(settings, FIRST_NAMES)


def to_todays_names(settings: Any) -> Any:
    """Plain settings that were stored, with every `_target_` where the class is today: what can be built."""
    return _renamed(settings, _TODAY)


def _renamed(node: Any, names: Mapping[str, str]) -> Any:
    if isinstance(node, Mapping):
        return {
            key: names.get(value, value) if key == "_target_" and isinstance(value, str) else _renamed(value, names)
            for key, value in node.items()
        }
    return [_renamed(value, names) for value in node] if isinstance(node, list | tuple) else node
