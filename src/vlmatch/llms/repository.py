"""Find the folder of an LLM: a path of the user, or the snapshot of a hub repository in Hugging Face's cache."""

from pathlib import Path

from vlmatch.errors import VlmatchError
from vlmatch.packages import hub
from vlmatch.packages.adapters import holds_adapter
from vlmatch.packages.hub import Wanted, hub_folder, named_folder
from vlmatch.packages.model_folders import INDEX, SINGLE, holds_weights, whole_weights

FILES = ["*.json", "*.model", "*.txt", "*.jinja", "*.py"]
WEIGHTS = ["*.safetensors", "pytorch_model*.bin"]  # pickled ones only if a repository has no safetensors
UNWANTED = ["original/*", "onnx/*", "consolidated*"]  # the same weights again, in other layouts
TOKENIZERS = ("tokenizer.json", "tokenizer.model", "tokenizer_config.json", "vocab.json")


def repository_folder(name: str, repository: str) -> Path:
    """The folder of `repository`: itself if it is a folder, else the snapshot of that hub id, downloaded if need be.

    The cache is looked at first, without network. Then the hub is asked once, with a short wait, unless offline=true
    or HF_HUB_OFFLINE=1 is set.
    Raises NotHereError, which names the ways to get the weights.
    """
    wanted = Wanted("llm", name, repository, repository, "/path/to/folder")
    return named_folder(wanted, "llm.repository") or hub_folder(wanted, FILES, WEIGHTS, _is_whole, UNWANTED)


def _is_whole(folder: Path) -> bool:
    """Whether the folder has all of its weight files and a tokenizer."""
    return holds_weights(folder) and any((folder / tokenizer).is_file() for tokenizer in TOKENIZERS)


def weights_sha256(name: str, folder: Path) -> str:
    """SHA-256 of the folder's weight file; for several, of their concatenated digests in the order of names.

    Raises VlmatchError if the folder has none or its index can't be read, NotHereError if it lacks a file that its
    index lists.
    """
    files = whole_weights(f"llm '{name}'", folder)
    if not files and holds_adapter(folder):
        raise VlmatchError(
            f"llm '{name}': '{folder}' holds a LoRA adapter without its base model; give the base model as "
            f"llm.repository and llm.adapter={folder}"
        )
    if not files:
        raise VlmatchError(
            f"llm '{name}': '{folder}' holds no {SINGLE} and no {INDEX}; give a folder as save_pretrained writes it"
        )
    return hub.weights_sha256("llm", name, files)
