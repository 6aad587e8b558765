"""Whether the network may be used: one place decides, for this process and for all that it starts."""

import os
import sys

from vlmatch.errors import NotHereError

OFFLINE = "VLMATCH_OFFLINE"
_LIBRARIES = ("HF_HUB_OFFLINE", "TRANSFORMERS_OFFLINE", "HF_DATASETS_OFFLINE")
_NO_TELEMETRY = {
    "HF_HUB_DISABLE_TELEMETRY": "1",
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "DVC_NO_ANALYTICS": "1",
    "DO_NOT_TRACK": "1",
}


def forbid_network() -> None:
    """Forbid vlmatch and its libraries all network calls, in this process and in those that it starts.

    Hugging Face's libraries read their variables once, when they are imported. If they are imported already, set the
    constants that they keep, too.
    """
    os.environ.update({OFFLINE: "1", **dict.fromkeys(_LIBRARIES, "1"), **_NO_TELEMETRY})
    for name in ("huggingface_hub.constants", "datasets.config"):
        for constant in ("HF_HUB_OFFLINE", "HF_DATASETS_OFFLINE"):
            if hasattr(sys.modules.get(name), constant):
                setattr(sys.modules[name], constant, True)


def is_forbidden() -> bool:
    """Whether `offline=true` was given, here or by the process that started this one, or VLMATCH_OFFLINE is set."""
    return os.environ.get(OFFLINE, "").lower() not in {"", "0", "false", "no"}


def require_network(what: str, instead: str) -> None:
    """Raise NotHereError if the network is forbidden.

    what: the start of the message, with its verb: "weights 'x' are". instead: what to do, for its end.
    """
    if is_forbidden():
        raise NotHereError(
            f"{what} not here, and offline=true forbids downloading them; {instead}, or run once with offline=false"
        )
