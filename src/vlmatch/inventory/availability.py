"""Where a model's weights are: on this machine, in a library's cache, in a package, on the hub, or yet to be named."""

import contextlib
import csv
import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from vlmatch import paths
from vlmatch.errors import VlmatchError
from vlmatch.packages.package import Package, is_here

HERE, CACHED, PACKAGED, HUB, LOGIN = "here", "in cache", "at first use", "needs the hub", "needs a login"
MISSING, UNNAMED = "missing", "yours to name"
STATUSES = (HERE, CACHED, PACKAGED, HUB, LOGIN, MISSING, UNNAMED)  # from the nearest to the farthest

# Repositories that the hub gives only to those who accepted their terms there and are logged in
# (https://huggingface.co/docs/hub/models-gated). timm's copies of DINOv3 are not among them
# (https://github.com/facebookresearch/dinov3/issues/145), Meta's own are.
GATED = ("meta-llama/", "google/gemma-", "facebook/dinov3-")

SIZES = Path(__file__).with_name("package_sizes.csv")  # bytes on disk, measured once unpacked


@dataclass(frozen=True)
class Availability:
    """A model's status, its weights in words, what of them lies on this machine, and the packages that don't."""

    status: str
    weights: str
    files: tuple[Path, ...] = ()
    absent: tuple[Package, ...] = ()


def availability(kind: str, config: Mapping[str, Any]) -> Availability:
    """Where the weights are that an encoder's or LLM's plain yaml names; nothing is downloaded or loaded for it.

    Of an encoder made of others, the status is the farthest of its own file's and its parts'.
    """
    found = [_own(kind, config), *(availability(kind, part) for part in config.get("parts") or ())]
    return Availability(
        max((each.status for each in found), key=STATUSES.index),
        " + ".join(each.weights for each in found if each.weights),
        tuple(dict.fromkeys(file for each in found for file in each.files)),
        tuple(dict.fromkeys(package for each in found for package in each.absent)),
    )


def size_on_disk(files: Sequence[Path]) -> int:
    """Bytes of files and folders, what a link points to included."""
    inside = (path for file in files for path in (file.rglob("*") if file.is_dir() else (file,)))
    return sum(path.stat().st_size for path in inside if path.is_file())


def size_to_come(packages: Sequence[Package]) -> int | None:
    """Bytes that these packages take once they are unpacked; None where that was not measured of one of them."""
    with SIZES.open(encoding="utf-8", newline="") as rows:
        sizes = {(row["package"], row["version"]): int(row["bytes"]) for row in csv.DictReader(rows)}
    each = [sizes.get((package.name, package.version)) for package in packages]
    return None if None in each else sum(size for size in each if size is not None)


def _own(kind: str, config: Mapping[str, Any]) -> Availability:
    """Where the model's own weights are; its parts have theirs."""
    if checkpoint := config.get("checkpoint"):
        return _at_path(str(checkpoint))
    repository = config.get("repository")
    packages = [Package.of(entry) for entry in [config.get("package"), *(config.get("packages") or [])] if entry]
    if packages and not repository:
        return _in_packages(config, packages)
    if repository and _is_path(str(repository)):
        return _at_path(str(repository))
    weights = repository or config.get("model") or config.get("pretrained") or config.get("weights")
    if not weights:
        return Availability(HERE, "")  # a control, or nothing but its parts
    if architecture := config.get("architecture"):
        weights = f"{architecture} {weights}"
    if cached := _cached(kind, config):
        return Availability(CACHED, str(weights), (cached,))
    return Availability(LOGIN if str(repository).startswith(GATED) else HUB, str(weights))


def _at_path(place: str) -> Availability:
    path = Path(place).expanduser()
    shown = str(path.relative_to(paths.root())) if path.is_relative_to(paths.root()) else place
    return Availability(HERE, shown, (path,)) if path.exists() else Availability(MISSING, shown)


def _is_path(repository: str) -> bool:
    return repository.startswith(("/", ".", "~")) or repository.count("/") > 1 or Path(repository).is_dir()


def _in_packages(config: Mapping[str, Any], packages: Sequence[Package]) -> Availability:
    """An LLM's GGUF is kept dequantised beside its packages."""
    absent = tuple(package for package in packages if not is_here(package))
    converted = paths.cache() / "models" / f"{config['name']}-{str(config.get('sha256'))[:8]}"
    folders = [package.folder for package in packages if is_here(package)]
    files = (*folders, converted) if converted.is_dir() else tuple(folders)
    last = packages[-1]
    weights = f"{last.name} {last.version}" + (f", {len(packages)} packages" if len(packages) > 1 else "")
    return Availability(PACKAGED if absent else HERE, weights, files, absent)


def _cached(kind: str, config: Mapping[str, Any]) -> Path | None:
    """The file or folder in a library's cache that the model's own loader would take, if there is one.

    The libraries, which know where a tag's weights are, take seconds to import: not where the caches are empty.
    """
    from huggingface_hub import constants

    torch_hub = Path(os.environ.get("TORCH_HOME") or Path(constants.default_home) / "torch", "hub", "checkpoints")
    is_torchvisions = str(config.get("_target_")).endswith(".TorchvisionHubEncoder")
    cache, entries = (torch_hub, "*") if is_torchvisions else (Path(constants.HF_HUB_CACHE), "models--*")
    if not any(cache.glob(entries)):
        return None
    with _offline():
        try:
            return _from_cache(kind, config)
        except VlmatchError:
            return None


def _from_cache(kind: str, config: Mapping[str, Any]) -> Path | None:
    """What each loader does first; asked while the hub is out of reach, it ends there."""
    name = str(config["name"])
    if kind == "llm":
        from vlmatch.llms.repository import repository_folder

        return repository_folder(name, config["repository"])
    loader = str(config.get("_target_")).rpartition(".")[2]
    if loader == "TransformersEncoder":
        from vlmatch.encoders.transformers_models import model_folder

        return model_folder(name, config["repository"], None, False)
    if loader == "TimmEncoder":
        from vlmatch.encoders import timm_models

        return timm_models.tag_weights(name, config["model"])
    if loader == "OpenClipEncoder":
        import open_clip

        from vlmatch.encoders import openclip

        tag = open_clip.get_pretrained_cfg(config["architecture"], config["pretrained"])
        return openclip.tag_weights(name, config["pretrained"], tag)
    if loader == "TorchvisionHubEncoder":
        from vlmatch.encoders.torchvision_models import entry_weights, weights_entry

        return entry_weights(name, weights_entry(name, config["architecture"], config["weights"]))
    return None


@contextlib.contextmanager
def _offline() -> Iterator[None]:
    """Keep the hub out of reach inside the block."""
    from huggingface_hub import constants

    before, constants.HF_HUB_OFFLINE = constants.HF_HUB_OFFLINE, True
    try:
        yield
    finally:
        constants.HF_HUB_OFFLINE = before
