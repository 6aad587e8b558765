"""Weight files of encoders: found at a path, read without running code, loaded strictly, hashed."""

import contextlib
import hashlib
import pickle
import re
from collections.abc import Collection, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from safetensors import safe_open
from safetensors.torch import load_file
from torch import Tensor, nn

from vlmatch.encoders.keras_weights import read_keras
from vlmatch.errors import NotHereError, VlmatchError, one_line
from vlmatch.files import sha256_of_file, without_pipes
from vlmatch.machine.disk import faults_as
from vlmatch.packages.hub import fetch_again
from vlmatch.packages.model_folders import PICKLED_SINGLE, SINGLE, WRAPPERS, whole_weights
from vlmatch.pickles import refuse_code, restricted_load

_CHECKPOINTS = (".safetensors", ".ckpt", ".pt", ".pth")
_WRAPPED = re.compile(rf"(^|\.){WRAPPERS}")


def local_path(name: str, checkpoint: str) -> Path:
    """The path of the user's file or folder of weights.

    Raises NotHereError if it does not exist, VlmatchError if it is, or holds, a pipe or a device.
    """
    path = Path(checkpoint).expanduser()
    if not path.exists():
        raise NotHereError(
            f"encoder '{name}': encoder.checkpoint={checkpoint} does not exist; give the path of the weights"
        )
    if not (path.is_file() or path.is_dir()):  # a pipe or a device could be read for ever
        raise VlmatchError(
            f"encoder '{name}': encoder.checkpoint={checkpoint} is neither a file nor a folder; give the path of one"
        )
    return without_pipes(f"encoder '{name}'", path) if path.is_dir() else path


def read_tensors(name: str, path: Path) -> dict[str, Tensor]:
    """All tensors of a checkpoint by their dotted names; entries inside entries are joined by dots.

    path: a .safetensors file, a PyTorch file of tensors and plain values, or a folder with one of these or the shards
    that its index lists. Raises NotHereError if a folder has none, VlmatchError on a file that is damaged, would run
    code, or holds no tensor.
    """
    tensors: dict[str, Tensor] = {}
    for file in files_of_weights(name, path):
        tensors |= _named(_content(name, file))
    if not tensors:
        raise VlmatchError(
            f"encoder '{name}': weights '{path}' hold no named tensors; give a file of a model's state dict"
        )
    return tensors


def names_in(name: str, files: Sequence[Path]) -> dict[str, Tensor]:
    """The names of all tensors of weight files, with their shapes but not their values (on the device 'meta').

    Raises VlmatchError as `read_tensors` does.
    """
    tensors: dict[str, Tensor] = {}
    for file in files:
        if file.suffix == ".safetensors":
            with _reading(name, file), safe_open(file, "pt") as opened:
                for key in opened.keys():  # noqa: SIM118 - it is not a mapping
                    tensors[_unwrapped(key)] = torch.empty(opened.get_slice(key).get_shape(), device="meta")
        else:
            tensors |= _named(_content(name, file, "meta"))
    return tensors


def tensors_of(name: str, files: Sequence[Path], wanted: Collection[str]) -> dict[str, Tensor]:
    """The tensors with these names; a .safetensors file is read only in part. Raises VlmatchError as `read_tensors`."""
    tensors: dict[str, Tensor] = {}
    for file in files:
        if file.suffix == ".safetensors":
            with _reading(name, file), safe_open(file, "pt") as opened:
                names = {_unwrapped(key): key for key in opened.keys()}  # noqa: SIM118
                tensors |= {key: opened.get_tensor(names[key]) for key in names if key in wanted}
        else:
            tensors |= {key: value for key, value in _named(_content(name, file)).items() if key in wanted}
    return tensors


def read_state_dict(name: str, path: Path) -> dict[str, Tensor]:
    """The tensors of a .safetensors file, of Keras' .h5 file, or of a PyTorch file that holds nothing but tensors.

    Of a training checkpoint, the entry `state_dict` or `model` is read; DataParallel's prefix `module.` is removed.
    Raises VlmatchError on a damaged file, or one that would run code.
    """
    read = _content(name, path)
    for key in ("state_dict", "model"):
        if isinstance(read, Mapping) and isinstance(read.get(key), Mapping):
            read = read[key]
    if not isinstance(read, Mapping) or not all(isinstance(value, Tensor) for value in read.values()):
        raise VlmatchError(
            f"encoder '{name}': weights '{path}' hold no named tensors; give a file of a model's state dict"
        )
    return {str(key).removeprefix("module."): value for key, value in read.items()}


def files_of_weights(name: str, path: Path) -> list[Path]:
    """The file itself, or the weight files of a folder as transformers names them.

    Raises VlmatchError if the folder's index can't be read, NotHereError if a file is missing.
    """
    if not path.is_dir():
        return [path]
    files = whole_weights(f"encoder '{name}'", path)
    if not files:
        others = [file.name for file in sorted(path.iterdir()) if file.suffix in _CHECKPOINTS]
        instead = f"give the path of its '{others[0]}' itself" if others else "put one there"
        raise NotHereError(f"encoder '{name}': '{path}' holds no {SINGLE} or {PICKLED_SINGLE}; {instead}")
    return files


def _content(name: str, path: Path, device: str = "cpu") -> Any:
    """What one .safetensors, .h5 or PyTorch file holds, read without running code."""
    refuse_code(f"encoder '{name}'", path)
    with _reading(name, path):
        if path.suffix == ".h5":
            return read_keras(name, path)
        return dict(load_file(path)) if path.suffix == ".safetensors" else restricted_load(path, device)


@contextlib.contextmanager
def _reading(name: str, path: Path) -> Iterator[None]:
    """Raise VlmatchError instead of what the libraries raise on a damaged file; a damaged pickle raises anything."""

    def unreadable(error: Exception) -> VlmatchError:
        damaged = isinstance(error, pickle.UnpicklingError)
        why = "not a PyTorch file, or a damaged one" if damaged else one_line(error)[:160]
        return VlmatchError(
            f"encoder '{name}': weights '{path}' can't be read ({why}); "
            f"give a .safetensors file or a PyTorch file of plain tensors, or {fetch_again(path)}"
        )

    with faults_as(unreadable):
        yield


def _unwrapped(key: str) -> str:
    """A tensor's name without the parts that torch.compile, FSDP and activation checkpointing insert."""
    return _WRAPPED.sub(r"\1", key)


def _named(content: Any, prefix: str = "") -> dict[str, Tensor]:
    """The tensors of nested entries by their dotted names."""
    named: dict[str, Tensor] = {}
    for key, value in content.items() if isinstance(content, Mapping) else ():
        if isinstance(value, Tensor):
            named[_unwrapped(f"{prefix}{key}")] = value
        else:
            named |= _named(value, f"{prefix}{key}.")
    return named


def load_strictly(name: str, module: nn.Module, state: Mapping[str, Tensor], path: Path) -> None:
    """Load every tensor of `module` from `state`; VlmatchError names the first key that does not fit."""
    own = module.state_dict()
    missing = [key for key in own if key not in state]
    unexpected = [key for key in state if key not in own]
    misshapen = [key for key in own if key in state and own[key].shape != state[key].shape]
    for what, keys in (("missing", missing), ("unexpected", unexpected), ("of another shape", misshapen)):
        if keys:
            raise VlmatchError(
                f"encoder '{name}': weights '{path}' do not fit the architecture: {len(keys)} of {len(own)} tensors "
                f"{what}, first '{keys[0]}'; give weights of this architecture"
            )
    module.load_state_dict(state)


def checked_sha256(name: str, path: Path, expected: str) -> str:
    """SHA-256 of one weight file; VlmatchError if it is not the expected one."""
    digest = sha256_of_file(path)
    if digest != expected:
        raise VlmatchError(
            f"encoder '{name}': SHA-256 expected {expected}, got {digest} from '{path}'; it is not used. "
            "If you trained these weights anew, put their SHA-256 into the encoder's yaml"
        )
    return digest


def sha256_of_tensors(state: Mapping[str, Tensor]) -> str:
    """SHA-256 over the names and bytes of tensors in memory, for weights that were never in a file."""
    digest = hashlib.sha256()
    for key, value in state.items():
        digest.update(key.encode())
        digest.update(value.detach().cpu().contiguous().numpy().tobytes())
    return digest.hexdigest()
