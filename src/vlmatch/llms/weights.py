"""Which weights an LLM's yaml names: a GGUF file, a model folder or hub id, or a GGUF file inside packages."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from vlmatch.errors import NotHereError, VlmatchError
from vlmatch.files import sha256_of_file
from vlmatch.llms.gguf import gguf_folder, quantisation_of
from vlmatch.llms.repository import repository_folder, weights_sha256


@dataclass(frozen=True)
class Weights:
    """A folder that transformers loads, or one GGUF file in it, and how its numbers were coarsened (None: not)."""

    folder: Path
    sha256: str
    gguf_file: str | None = None
    quantisation: str | None = None


def weights_of(
    name: str,
    *,
    checkpoint: str | None,
    repository: str | None,
    packages: Sequence[Mapping[str, str]],
    members: Sequence[str],
    sha256: str | None,
) -> Weights:
    """The weights named, the first of: `checkpoint`, `repository`, `packages` with `members` and `sha256`.

    Raises NotHereError where they can't be had, VlmatchError where none are named or they are damaged.
    """
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
    """The user's own file: read where it lies, since its dequantised copy may be eight times as large."""
    if not path.is_file():
        raise NotHereError(f"llm '{name}': llm.checkpoint={path} is no file; give the path of a GGUF file")
    return Weights(path.parent, sha256_of_file(path), gguf_file=path.name, quantisation=quantisation_of(name, path))
