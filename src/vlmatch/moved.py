"""Classes and folders that moved: stored settings name them by the place that they had when they were written.

Fingerprints hash the first name that a class was stored under, so that a move changes no fingerprint: embeddings,
result files and trained VLMs from before count as they are. Whoever builds from stored settings maps the names on.
"""

import re
from collections.abc import Mapping
from typing import Any

FIRST_NAMES = {
    "vlmatch_study.trained_head.HeadEncoder": "vlmatch.encoders.derived.HeadEncoder",
    "vlmatch_study.trained_convnet.TrainedConvnet": "vlmatch.encoders.trained_here.TrainedConvnet",
}
"""By today's name of a class, the name that it was first stored under. Add a line when a class moves."""

FIRST_FOLDERS = {"study/weights/": "weights/"}
"""The same for folders of this repository, as they stand in paths."""

_TODAY = {first: today for today, first in FIRST_NAMES.items()}


def to_first_names(settings: Any) -> Any:
    """Plain settings with every `_target_` and folder as it was first stored: what a fingerprint hashes."""
    return _renamed(settings, FIRST_NAMES, FIRST_FOLDERS)


def to_todays_names(settings: Any) -> Any:
    """Plain settings that were stored, with every `_target_` where the class is today: what can be built."""
    return _renamed(settings, _TODAY, {})


def _renamed(node: Any, names: Mapping[str, str], folders: Mapping[str, str]) -> Any:
    if isinstance(node, Mapping):
        return {
            key: names.get(value, value)
            if key == "_target_" and isinstance(value, str)
            else _renamed(value, names, folders)
            for key, value in node.items()
        }
    if isinstance(node, list | tuple):
        return [_renamed(value, names, folders) for value in node]
    if isinstance(node, str):
        for today, first in folders.items():
            node = re.sub(f"(^|/){re.escape(today)}", rf"\g<1>{first}", node)
    return node
