"""Which weights an LLM's yaml names: a GGUF file, a model folder or hub id, or a GGUF file inside packages."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

from vlmatch.errors import NotHereError, VlmatchError
from vlmatch.files import sha256_of_file
from vlmatch.llms.gguf import converted_folder, gguf_folder, quantisation_of
from vlmatch.llms.repository import repository_folder, weights_sha256
from vlmatch.packages.adapters import Adapter, named_adapter
from vlmatch.packages.availability import NO_WEIGHTS, Availability, at_path, in_packages, on_hub, together
from vlmatch.packages.hub import is_path

_PART = re.compile(r"-\d{5}-of-\d{5}\.gguf$")  # how llama.cpp names the parts of a file; it reads no others


@dataclass(frozen=True)
class Weights:
    """A folder that transformers loads, or one GGUF file in it; the GGUF's quantisation; an adapter to merge.

    sha256: of the weights, including the adapter's. quantisation: None if the numbers were not quantised.
    """

    folder: Path
    sha256: str
    gguf_file: str | None = None
    quantisation: str | None = None
    adapter: Adapter | None = None


def weights_of(
    name: str,
    *,
    checkpoint: str | None,
    repository: str | None,
    packages: Sequence[Mapping[str, str]],
    members: Sequence[str],
    sha256: str | None,
    adapter: str | None = None,
) -> Weights:
    """The weights named: the first of `checkpoint`, `repository`, or `packages` with `members` and `sha256`.

    Raises NotHereError if they are not available; VlmatchError if none are named, they are damaged, or the folder holds
    an adapter that `adapter` does not name.
    """
    if checkpoint is not None:
        base = _gguf_file(name, Path(checkpoint).expanduser())
    elif repository is not None:
        folder = repository_folder(name, repository)
        base = Weights(folder, weights_sha256(name, folder))
    elif packages and members and sha256:
        folder, quantisation = gguf_folder(name, packages, members, sha256)
        base = Weights(folder, sha256, quantisation=quantisation)
    else:
        raise VlmatchError(
            f"llm '{name}': no weights named; give llm.repository=/path/to/folder (or a hub id), "
            "or all of packages, members and sha256"
        )
    named = named_adapter("llm", name, adapter, base.folder)
    return base if named is None else replace(base, sha256=named.weights_sha256(base.sha256), adapter=named)


def weights_availability(settings: Mapping[str, Any]) -> Availability:
    """Where the weights are that `weights_of` would take for an LLM's plain yaml; nothing is downloaded or loaded."""
    own = _base_availability(settings)
    adapter = settings.get("adapter")
    return together([own, at_path(str(adapter))]) if adapter else own


def _base_availability(settings: Mapping[str, Any]) -> Availability:
    """The same without the adapter."""
    repository, packages = settings.get("repository"), settings.get("packages") or ()
    if checkpoint := settings.get("checkpoint"):
        return at_path(str(checkpoint))
    if repository is not None:
        find = partial(repository_folder, str(settings["name"]), repository)
        return at_path(repository) if is_path(repository) else on_hub(repository, find, repository)
    if not packages:
        return NO_WEIGHTS
    converted = converted_folder(str(settings["name"]), str(settings.get("sha256")))
    found = in_packages(packages)
    return replace(found, files=(*found.files, converted)) if converted.is_dir() else found


def _gguf_file(name: str, path: Path) -> Weights:
    """The user's own GGUF file. It is read where it lies: a dequantised copy may be eight times as large."""
    if not path.is_file():
        raise NotHereError(f"llm '{name}': llm.checkpoint={path} is not a file; give the path of a GGUF file")
    if _PART.search(path.name):
        raise VlmatchError(
            f"llm '{name}': llm.checkpoint={path} is one of several parts of a GGUF file; join them by llama.cpp's "
            "llama-gguf-split --merge FIRST_PART WHOLE, and give the whole"
        )
    return Weights(path.parent, sha256_of_file(path), gguf_file=path.name, quantisation=quantisation_of(name, path))
