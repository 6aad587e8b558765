"""Weights from the Hugging Face hub: from its cache, else after one quick attempt to reach it."""

import urllib.error
import urllib.request
from abc import abstractmethod
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Unpack

from vlmatch.encoders.base import Encoder, EncoderOptions
from vlmatch.encoders.weights import local_path
from vlmatch.errors import NotHereError, VlmatchError, one_line
from vlmatch.network import require_network
from vlmatch.packages.availability import Availability
from vlmatch.packages.model_folders import shards_in

SECONDS_TO_ANSWER = 3
FILE, FOLDER = "/path/model.safetensors", "/path/of/its/folder"


class HubOptions(EncoderOptions, total=False):
    """Where the weights of an encoder from a hub may be instead, beside what every encoder takes.

    checkpoint: the path of a local file or folder with these weights; the hub is then not asked. entry: the part of
    that checkpoint to take, such as 'model_ema'; null: the only one that fits, see `towers.tower_in`.
    """

    checkpoint: str | None
    entry: str | None


class HubEncoder(Encoder):
    """An encoder whose weights come from a hub, unless `checkpoint` names a local file or folder of them.

    The constructor sets `checkpoint` to its path, or None, and `entry`. A subclass sets `taken`, what it took of a
    user's checkpoint and what it left out, in words. Raises NotHereError if the checkpoint does not exist.
    """

    taken: str = ""

    def __init__(
        self, name: str, *, checkpoint: str | None = None, entry: str | None = None, **options: Unpack[EncoderOptions]
    ) -> None:
        super().__init__(name, **options)
        self.checkpoint: Path | None = None if checkpoint is None else local_path(name, checkpoint)
        self.entry = entry

    @classmethod
    def availability(cls, settings: Mapping[str, Any]) -> Availability:
        """At the local `checkpoint`, else as `hub_availability` says."""
        return super().availability(settings) if settings.get("checkpoint") else cls.hub_availability(settings)

    @classmethod
    @abstractmethod
    def hub_availability(cls, settings: Mapping[str, Any]) -> Availability:
        """Whether the weights that an encoder's plain yaml names are in the library's cache, or only on its hub."""


def hub_file(name: str, weights: str, repository: str, filenames: Sequence[str]) -> Path:
    """The first of `filenames` that hub repository `repository` has; a cached one needs no network.

    name and weights: the encoder's name and what its user calls the weights, for the error message.
    Raises NotHereError within seconds if nothing is cached and the hub can't be reached or refuses, or if offline=true
    or HF_HUB_OFFLINE is set.
    """
    from huggingface_hub import hf_hub_download
    from huggingface_hub.errors import RemoteEntryNotFoundError

    for filename in filenames:
        if cached := cached_file(repository, filename):
            return cached
    require_hub(name, weights)
    for filename in filenames:
        try:
            return Path(hf_hub_download(repository, filename))
        except RemoteEntryNotFoundError:
            continue
        except Exception as error:  # its network library's own errors too
            raise NotHereError(not_here(name, weights, f"the hub refuses: {one_line(error)[:160]}")) from error
    raise NotHereError(not_here(name, weights, f"'{repository}' on the hub has none of {', '.join(filenames)}"))


def hub_folder(
    name: str, repository: str, needed: Sequence[str], wanted: Sequence[str], weights: Sequence[str]
) -> Path:
    """The folder of a repository that holds a whole model, from the cache or the hub.

    needed: the files that the cached folder must have beside weights; then the hub is not asked.
    wanted: patterns of the files to download beside the weights. weights: patterns of weight files; the first pattern
    that matches files of the repository is used.
    """
    from huggingface_hub import snapshot_download

    cached = [cached_file(repository, filename) for filename in needed]
    folder = cached[0].parent if cached[0] else None
    if folder and all(cached) and any(list(folder.glob(pattern)) for pattern in weights) and _is_whole(folder):
        return folder
    require_hub(name, repository, FOLDER)
    for pattern in weights:
        try:
            folder = Path(snapshot_download(repository, allow_patterns=[*wanted, pattern]))
        except Exception as error:  # its network library's own errors too
            reason = f"the hub refuses: {one_line(error)[:160]}"
            raise NotHereError(not_here(name, repository, reason, FOLDER)) from error
        if list(folder.glob(pattern)):
            return folder
    raise NotHereError(not_here(name, repository, f"the repository has no {' or '.join(weights)}", FOLDER))


def _is_whole(folder: Path) -> bool:
    """Whether every shard that an index in the folder lists is there; an earlier download may have been interrupted."""
    try:
        shards = [shard for index in folder.glob("*.index.json") for shard in shards_in(index)]
    except VlmatchError:
        return False
    return all(shard.is_file() for shard in shards)


def cached_file(repository: str, filename: str) -> Path | None:
    """The path of a file in the hub's cache on this machine; None if it is not there."""
    from huggingface_hub import try_to_load_from_cache

    cached = try_to_load_from_cache(repository, filename)
    return Path(cached) if isinstance(cached, str) else None


def require_hub(name: str, weights: str, place: str = FILE) -> None:
    """Raise NotHereError unless the hub answers within `SECONDS_TO_ANSWER`; one attempt, no retries."""
    from huggingface_hub import constants, is_offline_mode

    require_network(f"encoder '{name}': weights '{weights}' are", f"give encoder.checkpoint={place}")
    if is_offline_mode():
        raise NotHereError(not_here(name, weights, "HF_HUB_OFFLINE is set", place))
    try:
        request = urllib.request.Request(constants.ENDPOINT, method="HEAD")  # noqa: S310 - the hub, or HF_ENDPOINT
        urllib.request.urlopen(request, timeout=SECONDS_TO_ANSWER).close()  # noqa: S310
    except urllib.error.HTTPError:
        return  # an error page is an answer too: the hub can be reached
    except OSError as error:
        raise NotHereError(not_here(name, weights, "the hub can't be reached", place)) from error


def not_here(name: str, weights: str, why: str, place: str = FILE) -> str:
    """The error line that names the ways to get an encoder's weights; `place`: an example for its checkpoint."""
    return (
        f"encoder '{name}': weights '{weights}' are not here and {why}; give encoder.checkpoint={place}, "
        "or choose a packaged encoder (python src/run.py task=check)"
    )
