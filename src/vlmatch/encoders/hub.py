"""Weights from the Hugging Face hub: from its cache, else after one quick attempt to reach it."""

import json
import urllib.error
import urllib.request
from collections.abc import Sequence
from pathlib import Path

from vlmatch.errors import NotHereError, one_line
from vlmatch.network import require_network

SECONDS_TO_ANSWER = 3
FILE, FOLDER = "/path/model.safetensors", "/path/of/its/folder"


def hub_file(name: str, weights: str, repository: str, filenames: Sequence[str]) -> Path:
    """The first of `filenames` that hub repository `repository` has; a cached one needs no network.

    name: the encoder's, weights: what its user calls them; both are for the message.
    Raises NotHereError within seconds where nothing is cached and the hub can't be reached, where
    offline=true or HF_HUB_OFFLINE forbids to ask, and where the hub refuses.
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
    """The cached or downloaded files of a repository that holds a whole model.

    needed: files that must be in the cache for it to serve without network, next to one of `weights`.
    wanted: patterns of what is downloaded beside the weights. weights: patterns, the first that the
    repository has files of is taken.
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
    """Whether every shard that an index in the folder names is there; another download may have been interrupted."""
    try:
        named = {
            shard
            for index in folder.glob("*.index.json")
            for shard in json.loads(index.read_text(encoding="utf-8"))["weight_map"].values()
        }
    except (OSError, ValueError, KeyError, AttributeError):
        return False
    return all((folder / shard).is_file() for shard in named)


def cached_file(repository: str, filename: str) -> Path | None:
    """A file that the hub's cache on this machine holds."""
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
        return  # an answer, if a grumpy one
    except OSError as error:
        raise NotHereError(not_here(name, weights, "the hub can't be reached", place)) from error


def not_here(name: str, weights: str, why: str, place: str = FILE) -> str:
    """The one line that names the ways to get an encoder's weights; `place` is what its checkpoint may be."""
    return (
        f"encoder '{name}': weights '{weights}' are not here and {why}; give encoder.checkpoint={place}, "
        "or choose a packaged encoder (python src/run.py task=check)"
    )
