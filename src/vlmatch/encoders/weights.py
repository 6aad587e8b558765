"""Weight files of encoders: found in a package or at a path, read without running code, loaded strictly, hashed."""

import hashlib
import pickle
from collections.abc import Mapping, Sequence
from pathlib import Path

from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor, nn

from vlmatch.encoders.keras_weights import read_keras
from vlmatch.errors import NotHereError, VlmatchError, one_line
from vlmatch.files import sha256_of_file
from vlmatch.packages.package import Package, package_folder
from vlmatch.pickles import refuse_code, restricted_load

# What the libraries raise on a damaged file, one that would run code, or one of another model.
UNREADABLE = (OSError, EOFError, KeyError, RuntimeError, ValueError, pickle.UnpicklingError, SafetensorError)


def weight_file(name: str, package: Mapping[str, str] | None, file: str | None, checkpoint: str | None) -> Path:
    """The weight file of encoder `name`: the user's `checkpoint`, else `file` inside the weight package.

    Raises NotHereError where neither is there or can be fetched.
    """
    if checkpoint is not None:
        return local_path(name, checkpoint)
    if package is None or file is None:
        raise VlmatchError(f"encoder '{name}': no weights named; give checkpoint, or package and file")
    path = package_folder(Package.of(package)) / file
    if not path.is_file():
        raise VlmatchError(f"encoder '{name}': file='{file}' is not in package '{package['name']}'; name one that is")
    return path


def local_path(name: str, checkpoint: str) -> Path:
    """The user's file or folder of weights; NotHereError where it does not exist."""
    path = Path(checkpoint).expanduser()
    if not path.exists():
        raise NotHereError(f"encoder '{name}': checkpoint='{checkpoint}' does not exist; give the path of the weights")
    return path


def read_state_dict(name: str, path: Path) -> dict[str, Tensor]:
    """The tensors in a .safetensors file, in Keras' .h5 file, or in a PyTorch file that holds nothing but tensors.

    A training checkpoint's `state_dict` or `model` entry is taken out, and DataParallel's prefix `module.`
    is cut off. VlmatchError on a damaged file, or one that would run code.
    """
    refuse_code(f"encoder '{name}'", path)
    try:
        if path.suffix == ".h5":
            return read_keras(name, path)
        if path.suffix == ".safetensors":
            return dict(load_file(path))
        read = restricted_load(path)
    except UNREADABLE as error:
        raise VlmatchError(
            f"encoder '{name}': weights '{path}' can't be read ({one_line(error)[:160]}); "
            "give a .safetensors file or a PyTorch file of plain tensors"
        ) from error
    for key in ("state_dict", "model"):
        if isinstance(read, Mapping) and isinstance(read.get(key), Mapping):
            read = read[key]
    if not isinstance(read, Mapping) or not all(isinstance(value, Tensor) for value in read.values()):
        raise VlmatchError(f"encoder '{name}': weights '{path}' hold no state dict; give a file of named tensors")
    return {str(key).removeprefix("module."): value for key, value in read.items()}


def load_strictly(name: str, module: nn.Module, state: Mapping[str, Tensor], path: Path) -> None:
    """Load every tensor of `module` from `state`; VlmatchError names the first missing, unexpected or misshapen."""
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


def sha256_of(files: Sequence[Path]) -> str:
    """SHA-256 of one weight file; for several, of their concatenated digests in the given order."""
    digests = [sha256_of_file(path) for path in files]
    return digests[0] if len(digests) == 1 else hashlib.sha256("".join(digests).encode()).hexdigest()


def checked_sha256(name: str, path: Path, expected: str) -> str:
    """SHA-256 of one weight file; VlmatchError where it is not the expected one."""
    digest = sha256_of_file(path)
    if digest != expected:
        raise VlmatchError(
            f"encoder '{name}': SHA-256 expected {expected}, got {digest} from '{path}'; it is not "
            "used. After a training of your own, put the new one into the encoder's yaml"
        )
    return digest


def sha256_of_tensors(state: Mapping[str, Tensor]) -> str:
    """SHA-256 over names and bytes of tensors in memory, for weights that lie in no file."""
    digest = hashlib.sha256()
    for key, value in state.items():
        digest.update(key.encode())
        digest.update(value.detach().cpu().contiguous().numpy().tobytes())
    return digest.hexdigest()
