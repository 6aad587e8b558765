"""Which weights an LLM's yaml names: a GGUF file, a model folder or hub id, or a GGUF file inside packages."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from vlmatch.errors import NotHereError, VlmatchError
from vlmatch.files import sha256_of_file
from vlmatch.llms.gguf import gguf_folder, quantisation_of
from vlmatch.llms.repository import repository_folder, weights_sha256
from vlmatch.packages.adapters import Adapter, named_adapter


@dataclass(frozen=True)
class Weights:
    """A folder that transformers loads, or one GGUF file in it; the GGUF's quantisation; an adapter to merge.

    sha256: of the weights, the adapter's included. quantisation: None if the numbers were not quantised.
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

    Raises NotHereError if they can't be had, VlmatchError if none are named, they are damaged, or the folder holds an
    adapter that `adapter` does not name.
    """
    base = _base_weights(name, checkpoint, repository, packages, members, sha256)
    named = named_adapter("llm", name, adapter, base.folder)
    return base if named is None else replace(base, sha256=named.weights_sha256(base.sha256), adapter=named)


def _base_weights(
    name: str,
    checkpoint: str | None,
    repository: str | None,
    packages: Sequence[Mapping[str, str]],
    members: Sequence[str],
    sha256: str | None,
) -> Weights:
    if checkpoint is not None:
        return _gguf_file(name, Path(checkpoint).expanduser())
    if repository is not None:
        folder = repository_folder(name, repository)
        return Weights(folder, weights_sha256(name, folder))
    if packages and members and sha256:
        folder, quantisation = gguf_folder(name, packages, members, sha256)
        return Weights(folder, sha256, quantisation=quantisation)
    raise VlmatchError(
        f"llm '{name}': no weights named; give llm.repository=/path/to/folder (or a hub id), "
        "or all of packages, members and sha256"
    )


def _gguf_file(name: str, path: Path) -> Weights:
    """The user's own GGUF file. It is read where it lies: a dequantised copy may be eight times as large."""
    if not path.is_file():
        raise NotHereError(f"llm '{name}': llm.checkpoint={path} is not a file; give the path of a GGUF file")
    return Weights(path.parent, sha256_of_file(path), gguf_file=path.name, quantisation=quantisation_of(name, path))
