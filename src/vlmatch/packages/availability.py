"""Where a model's weights are: on this machine, in a library's cache, in a package, or on the hub.

Each class of encoders and LLMs says this for its settings, by its method `availability`.
"""

import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from vlmatch import paths
from vlmatch.errors import VlmatchError
from vlmatch.objects import OWN, target_named
from vlmatch.packages.package import Package, is_here

HERE, CACHED, PACKAGED, HUB, LOGIN = "here", "in cache", "at first use", "needs the hub", "needs a login"
MISSING, UNNAMED = "missing", "yours to name"
STATUSES = (HERE, CACHED, PACKAGED, HUB, LOGIN, MISSING, UNNAMED)  # from the nearest to the farthest

# Repositories that the hub gives only to those who accepted their terms there and are logged in
# (https://huggingface.co/docs/hub/models-gated). timm's copies of DINOv3 are not among them
# (https://github.com/facebookresearch/dinov3/issues/145), Meta's own are.
GATED = ("meta-llama/", "google/gemma-", "facebook/dinov3-")


@dataclass(frozen=True)
class Availability:
    """A model's status, its weights in words, which of its files are on this machine, and which packages are not."""

    status: str
    weights: str
    files: tuple[Path, ...] = ()
    absent: tuple[Package, ...] = ()


NO_WEIGHTS = Availability(HERE, "")
_OFFLINE = threading.RLock()  # huggingface_hub has one such setting for all threads


def availability(settings: Mapping[str, Any]) -> Availability:
    """Where the weights are that an encoder's or LLM's plain yaml names; nothing is downloaded or loaded.

    A class of the user's own counts as here, unless it derives from Encoder or LanguageModel and says otherwise. One
    that `targets` does not admit is not imported: the status is then `UNNAMED`. Raises VlmatchError on a `_target_` of
    vlmatch that does not exist.
    """
    target = str(settings["_target_"])
    try:
        model = target_named(target)
    except VlmatchError:
        if target.startswith(OWN):
            raise
        return Availability(UNNAMED, f"targets=[{target.partition('.')[0]}.]")
    ask = getattr(model, "availability", None)
    return NO_WEIGHTS if ask is None else ask(settings)


def at_path(place: str) -> Availability:
    """Weights at a path: here or missing."""
    path = Path(place).expanduser()
    shown = str(path.relative_to(paths.root())) if path.is_relative_to(paths.root()) else place
    return Availability(HERE, shown, (path,)) if path.exists() else Availability(MISSING, shown)


def in_packages(entries: Sequence[Mapping[str, str]]) -> Availability:
    """Weights inside packages, which a yaml names: here if all are in our cache."""
    packages = [Package.of(entry) for entry in entries]
    absent = tuple(package for package in packages if not is_here(package))
    folders = tuple(package.folder for package in packages if is_here(package))
    last = packages[-1]
    weights = f"{last.name} {last.version}" + (f", {len(packages)} packages" if len(packages) > 1 else "")
    return Availability(PACKAGED if absent else HERE, weights, folders, absent)


def on_hub(weights: str, find: Callable[[], Path], repository: str = "") -> Availability:
    """Weights on the Hugging Face hub: in its cache on this machine if the model's loader finds them there.

    weights: their name for the reader. find: see `found_offline`; it is not called if the cache is empty, because the
    libraries that it asks take seconds to import. repository: the repository on the hub, which may need a login.
    """
    from huggingface_hub import constants

    cache_is_empty = not any(Path(constants.HF_HUB_CACHE).glob("models--*"))
    if not cache_is_empty and (cached := found_offline(find)):
        return Availability(CACHED, weights, (cached,))
    return Availability(LOGIN if repository.startswith(GATED) else HUB, weights)


def found_offline(find: Callable[[], Path]) -> Path | None:
    """The file or folder that `find`, a loader's own search, finds without the hub; None if it finds nothing."""
    from huggingface_hub import constants

    with _OFFLINE:
        before, constants.HF_HUB_OFFLINE = constants.HF_HUB_OFFLINE, True
        try:
            return find()
        except VlmatchError:
            return None
        finally:
            constants.HF_HUB_OFFLINE = before


def together(parts: Sequence[Availability]) -> Availability:
    """The availability of a model that needs all `parts`: its status is that of the farthest one."""
    return Availability(
        max((part.status for part in parts), key=STATUSES.index),
        " + ".join(part.weights for part in parts if part.weights),
        tuple(dict.fromkeys(file for part in parts for file in part.files)),
        tuple(dict.fromkeys(package for part in parts for package in part.absent)),
    )
