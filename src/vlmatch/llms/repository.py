"""Find the folder of an LLM: a path of the user, or the snapshot of a hub repository in Hugging Face's cache."""

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from vlmatch.errors import NotHereError, VlmatchError, one_line
from vlmatch.files import joint_sha256, sha256_of_file
from vlmatch.network import require_network
from vlmatch.packages.adapters import holds_adapter
from vlmatch.packages.model_folders import INDEX, SINGLE, weight_files

HUB_SECONDS = 5  # how long to wait for the hub's first answer
WANTED = ["*.json", "*.safetensors", "*.model", "*.txt", "*.jinja", "*.py"]
PICKLED = ["pytorch_model*.bin"]  # downloaded only if a repository has no safetensors
UNWANTED = ["original/*", "onnx/*", "consolidated*"]  # the same weights again, in other layouts
TOKENIZERS = ("tokenizer.json", "tokenizer.model", "tokenizer_config.json", "vocab.json")


def repository_folder(name: str, repository: str) -> Path:
    """The folder of `repository`: itself if it is a folder, else the snapshot of that hub id, downloaded if need be.

    The cache is looked at first, without network. Then the hub is asked once, with a short wait, unless offline=true
    or HF_HUB_OFFLINE=1 is set.
    Raises NotHereError, which names the ways to get the weights.
    """
    path = Path(repository).expanduser()
    if path.is_dir():
        return path
    if is_path(repository):
        raise NotHereError(f"llm '{name}': llm.repository={repository} is not a folder; give the path of one")
    return _snapshot(name, repository)


def is_path(repository: str) -> bool:
    """Whether `repository` is the path of a folder, which may not exist, rather than a hub id."""
    return repository.startswith(("/", ".", "~")) or repository.count("/") > 1 or Path(repository).is_dir()


def _snapshot(name: str, repository: str) -> Path:
    from huggingface_hub import is_offline_mode, snapshot_download
    from huggingface_hub.errors import HFValidationError, IncompleteSnapshotError

    try:
        try:
            cached = Path(snapshot_download(repository, local_files_only=True))
        except IncompleteSnapshotError as error:  # it lacks some file of the repository, perhaps one not needed
            cached = Path(error.snapshot_path)
        if _is_complete(cached):
            return cached
        reason = "its copy in the Hugging Face cache is not complete"
    except OSError:
        reason = "it is not in the Hugging Face cache"
    except HFValidationError as error:
        raise NotHereError(
            f"llm '{name}': llm.repository={repository} is neither a folder nor a hub id; give one, such as "
            "/path/to/folder"
        ) from error
    require_network(f"llm '{name}': weights '{repository}' are", "give llm.repository=/path/to/folder")
    if is_offline_mode():
        raise _not_here(name, repository, f"{reason}, and HF_HUB_OFFLINE is set")
    try:
        return _download(repository)
    except Exception as error:  # its network library's own errors too, and that library changes between versions
        raise _not_here(name, repository, f"{reason}, and the hub refuses ({_reason(error)})") from error


def _download(repository: str) -> Path:
    """The snapshot of a hub repository: its safetensors, or its pickled weights if it has no safetensors."""
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
    """Whether the folder has all of its weight files and a tokenizer."""
    try:
        files = weight_files(folder)
    except VlmatchError:  # an index cut short
        return False
    has_tokenizer = any((folder / tokenizer).is_file() for tokenizer in TOKENIZERS)
    return bool(files) and all(file.is_file() for file in files) and has_tokenizer


def weights_sha256(name: str, folder: Path) -> str:
    """SHA-256 of the folder's weight file; for several, of their concatenated digests in the order of names.

    Raises VlmatchError if the folder has none, its index can't be read, or it lacks a file that its index lists.
    """
    try:
        files = weight_files(folder)
    except VlmatchError as error:
        raise VlmatchError(f"llm '{name}': {error}") from error
    try:
        with ThreadPoolExecutor(max_workers=4) as readers:
            digests = list(readers.map(sha256_of_file, files))
    except OSError as error:
        raise VlmatchError(
            f"llm '{name}': weight file '{error.filename}' can't be read ({error.strerror}); download the weights again"
        ) from error
    if not digests and holds_adapter(folder):
        raise VlmatchError(
            f"llm '{name}': '{folder}' holds a LoRA adapter without its base model; give the base model as "
            f"llm.repository and llm.adapter={folder}"
        )
    if not digests:
        raise VlmatchError(
            f"llm '{name}': '{folder}' holds no {SINGLE} and no {INDEX}; give a folder as save_pretrained writes it"
        )
    return joint_sha256(digests)


def _reason(error: Exception) -> str:
    from huggingface_hub.errors import GatedRepoError, LocalEntryNotFoundError, RepositoryNotFoundError

    if isinstance(error, GatedRepoError):
        return "it is gated: accept its licence on its page and log in with 'hf auth login'"
    if isinstance(error, RepositoryNotFoundError):
        return "it has no such repository, or shows it only to those logged in"
    if isinstance(error, LocalEntryNotFoundError):
        return "it can't be reached"
    return one_line(error)[:120]


def _not_here(name: str, repository: str, reason: str) -> NotHereError:
    return NotHereError(
        f"llm '{name}': weights '{repository}' are not here: {reason}; give llm.repository=/path/to/folder, "
        "or choose a packaged LLM (python src/run.py task=check)"
    )
