"""Classes and folders that moved: stored settings still have their earlier names.

Fingerprints hash the first name that a class was stored under. So a move changes no fingerprint, and earlier
embeddings, result files and trained VLMs stay valid. Code that builds from stored settings calls `to_todays_names`.
"""

import re
from collections.abc import Mapping
from typing import Any

FIRST_NAMES = {
    "vlmatch_study.trained_head.HeadEncoder": "vlmatch.encoders.derived.HeadEncoder",
    "vlmatch_study.trained_convnet.TrainedConvnet": "vlmatch.encoders.trained_here.TrainedConvnet",
}
"""For today's name of a class, the name that it was first stored under. Add a line when a class moves."""

FIRST_FOLDERS = {"study/weights/": "weights/"}
"""The same for folders of this repository, as they appear in paths."""

_TODAY = {first: today for today, first in FIRST_NAMES.items()}


def to_first_names(settings: Any) -> Any:
    """Plain settings with every `_target_` and folder as it was first stored; fingerprints hash these."""
    return _renamed(settings, FIRST_NAMES, FIRST_FOLDERS)


def to_todays_names(settings: Any) -> Any:
    """Stored plain settings with today's name in every `_target_`, so that they can be built."""
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
