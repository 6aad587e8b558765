"""LoRA adapters in PEFT's format: hash them, merge them into a model's weights, and refuse those that nobody named."""

import contextlib
import pickle  # only for its class of errors
import tempfile
import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from safetensors import SafetensorError

from vlmatch.errors import NotHereError, VlmatchError, one_line
from vlmatch.files import joint_sha256, sha256_of_file
from vlmatch.pickles import refuse_code

CONFIG = "adapter_config.json"
WEIGHTS = ("adapter_model.safetensors", "adapter_model.bin")
# What peft and torch raise on a damaged adapter, or one of another model.
_UNUSABLE = (
    OSError, ValueError, KeyError, RuntimeError, AttributeError, TypeError, SafetensorError, pickle.UnpicklingError,
)  # fmt: skip


@dataclass(frozen=True)
class Adapter:
    """A folder with an adapter, and one SHA-256 over its configuration and weights."""

    folder: Path
    sha256: str

    def weights_sha256(self, base: str) -> str:
        """The SHA-256 of a model's weights with this adapter. base: the SHA-256 of its own weights."""
        return joint_sha256([base, self.sha256])


def named_adapter(kind: str, name: str, adapter: str | None, folder: Path) -> Adapter | None:
    """The adapter that the user names for the model in `folder`; None if the user names none.

    transformers applies an adapter that lies beside a model's weights without being asked; here that is an error.
    kind, name: 'encoder' or 'llm', and the model's name. adapter: the value of the key KIND.adapter.
    Raises VlmatchError if an adapter lies in `folder` and is not named, NotHereError if the named one is not there.
    """
    path = None if adapter is None else Path(adapter).expanduser()
    if holds_adapter(folder) and (path is None or path.resolve() != folder.resolve()):
        raise VlmatchError(
            f"{kind} '{name}': '{folder}' holds a LoRA adapter ({CONFIG}) beside the weights; give "
            f"{kind}.adapter={folder} to apply it, or move {CONFIG} away to leave it out"
        )
    if path is None:
        return None
    weights = _weights(path)
    if not holds_adapter(path) or weights is None:
        raise NotHereError(
            f"{kind} '{name}': {kind}.adapter={adapter} is not a folder with {CONFIG} and {WEIGHTS[0]}; give one as "
            "peft saves it"
        )
    refuse_code(f"{kind} '{name}'", weights)
    return Adapter(path, joint_sha256([sha256_of_file(path / CONFIG), sha256_of_file(weights)]))


def holds_adapter(folder: Path) -> bool:
    """Whether an adapter lies in the folder."""
    return (folder / CONFIG).is_file()


@contextlib.contextmanager
def without_adapter(folder: Path) -> Iterator[Path]:
    """The folder without an adapter, for transformers: `folder` itself, or links to all its other files."""
    if not holds_adapter(folder):
        yield folder
        return
    with tempfile.TemporaryDirectory() as view:
        for file in folder.iterdir():
            if not file.name.startswith("adapter_"):
                (Path(view) / file.name).symlink_to(file.resolve())
        yield Path(view)


def merged(kind: str, name: str, model: Any, adapter: Adapter) -> Any:
    """The model of transformers with the adapter added to its weights.

    Raises VlmatchError if the adapter can't be read, is not LoRA, or does not fit the model exactly.
    """
    import torch
    from peft import PeftConfig, PeftModel

    try:
        # Building the adapter draws random weights, which are then overwritten: leave the generators as they were.
        with warnings.catch_warnings(), torch.random.fork_rng(devices=range(torch.cuda.device_count())):
            warnings.simplefilter("ignore")
            config = PeftConfig.from_pretrained(str(adapter.folder))
            if config.peft_type != "LORA":
                raise ValueError(f"its peft_type is {config.peft_type}, which can't be merged into the weights")
            config.inference_mode = True
            adapted = PeftModel(model, config)
            report = adapted.load_adapter(str(adapter.folder), "default", torch_device="cpu")
            if misfits := [*report.missing_keys, *report.unexpected_keys]:
                raise ValueError(f"{len(misfits)} tensors are missing or unexpected, first '{misfits[0]}'")
            return adapted.merge_and_unload()
    except _UNUSABLE as error:
        raise VlmatchError(
            f"{kind} '{name}': {kind}.adapter={adapter.folder} can't be applied to {type(model).__name__} "
            f"({one_line(error)[:200]}); give a LoRA adapter of exactly this model"
        ) from error


def _weights(folder: Path) -> Path | None:
    return next((folder / file for file in WEIGHTS if (folder / file).is_file()), None)
