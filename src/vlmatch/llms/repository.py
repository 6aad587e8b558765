"""Where a model folder lies: a path of the user, or the snapshot of a hub repository in Hugging Face's cache."""

import hashlib
import json
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from vlmatch.errors import NotHereError, VlmatchError, one_line
from vlmatch.files import sha256_of_file
from vlmatch.network import require_network

HUB_SECONDS = 5  # wait for the hub's first answer
WANTED = ["*.json", "*.safetensors", "*.model", "*.txt", "*.jinja", "*.py"]
PICKLED = ["pytorch_model*.bin"]  # fetched only where a repository has no safetensors
UNWANTED = ["original/*", "onnx/*", "consolidated*"]  # the same weights once more, in other layouts
SINGLE, INDEX = "model.safetensors", "model.safetensors.index.json"
PICKLED_SINGLE, PICKLED_INDEX = "pytorch_model.bin", "pytorch_model.bin.index.json"
TOKENIZERS = ("tokenizer.json", "tokenizer.model", "tokenizer_config.json", "vocab.json")


def repository_folder(name: str, repository: str) -> Path:
    """The folder of `repository`: itself where it is a folder, else the snapshot of that hub id, downloaded if need be.

    The cache comes first and needs no network; the hub is tried once, quickly, and not with offline=true or with
    HF_HUB_OFFLINE=1.
    Raises NotHereError naming the ways to get the weights.
    """
    path = Path(repository).expanduser()
    if path.is_dir():
        return path
    if repository.startswith(("/", "./", "../", "~")) or repository.count("/") > 1:
        raise NotHereError(f"llm '{name}': llm.repository={repository} is no folder; give the path of one")
    return _snapshot(name, repository)


def _snapshot(name: str, repository: str) -> Path:
    from huggingface_hub import is_offline_mode, snapshot_download
    from huggingface_hub.errors import HFValidationError, IncompleteSnapshotError

    try:
        try:
            cached = Path(snapshot_download(repository, local_files_only=True))
        except IncompleteSnapshotError as error:  # of all that the repository has, of which not all is wanted
            cached = Path(error.snapshot_path)
        if _is_complete(cached):
            return cached
        reason = "its copy in the Hugging Face cache is not complete"
    except OSError:
        reason = "it is not in the Hugging Face cache"
    except HFValidationError as error:
        raise NotHereError(f"llm '{name}': llm.repository={repository} is neither a folder nor a hub id") from error
    require_network(f"llm '{name}': weights '{repository}' are", "give llm.repository=/path/to/folder")
    if is_offline_mode():
        raise _not_here(name, repository, f"{reason}, and HF_HUB_OFFLINE is set")
    try:
        return _download(repository)
    except Exception as error:  # its network library's own errors too, and that library changes between versions
        raise _not_here(name, repository, f"{reason}, and the hub doesn't give it ({_reason(error)})") from error


def _download(repository: str) -> Path:
    """The snapshot of a hub repository: its safetensors, or where it has none its pickled weights."""
    from huggingface_hub import snapshot_download

    folder = Path()
    for patterns in (WANTED, [*WANTED, *PICKLED]):
        folder = Path(
            snapshot_download(repository, allow_patterns=patterns, ignore_patterns=UNWANTED, etag_timeout=HUB_SECONDS)
        )
        if weight_files(folder):
            break
    return folder


def _is_complete(folder: Path) -> bool:
    files = weight_files(folder)
    has_tokenizer = any((folder / tokenizer).is_file() for tokenizer in TOKENIZERS)
    return bool(files) and all(file.is_file() for file in files) and has_tokenizer


def weight_files(folder: Path) -> list[Path]:
    """The files that transformers loads: one, or those that an index names; safetensors before pickled ones."""
    for single, index in ((SINGLE, INDEX), (PICKLED_SINGLE, PICKLED_INDEX)):
        if (folder / single).is_file():
            return [folder / single]
        if named := _named_by(folder / index):
            return named
    return []


def _named_by(index: Path) -> list[Path]:
    try:
        names = set(json.loads(index.read_text(encoding="utf-8"))["weight_map"].values())
        return sorted(index.parent / name for name in names)
    except (OSError, ValueError, KeyError, AttributeError, TypeError):
        return []


def weights_sha256(name: str, folder: Path) -> str:
    """SHA-256 of the folder's weight file; for several, of their concatenated digests in the order of names.

    Raises VlmatchError if the folder has none, or lacks one that its index names.
    """
    files = weight_files(folder)
    try:
        with ThreadPoolExecutor(max_workers=4) as readers:
            digests = list(readers.map(sha256_of_file, files))
    except OSError as error:
        raise VlmatchError(
            f"llm '{name}': weight file '{error.filename}' can't be read ({error.strerror}); get the weights complete"
        ) from error
    if not digests:
        raise VlmatchError(
            f"llm '{name}': '{folder}' holds no {SINGLE} and no {INDEX}; give a folder as save_pretrained writes it"
        )
    return digests[0] if len(digests) == 1 else hashlib.sha256("".join(digests).encode()).hexdigest()


def _reason(error: Exception) -> str:
    from huggingface_hub.errors import GatedRepoError, LocalEntryNotFoundError, RepositoryNotFoundError

    if isinstance(error, GatedRepoError):
        return "it is gated: accept its licence on its page and log in with 'hf auth login'"
    if isinstance(error, RepositoryNotFoundError):
        return "it has no such repository, or only for those logged in"
    if isinstance(error, LocalEntryNotFoundError):
        return "it can't be reached"
    return one_line(error)[:120]


def _not_here(name: str, repository: str, reason: str) -> NotHereError:
    return NotHereError(
        f"llm '{name}': weights '{repository}' are not here: {reason}; give llm.repository=/path/to/folder, "
        "or choose a packaged LLM (python src/run.py task=check)"
    )
