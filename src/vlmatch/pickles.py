"""PyTorch files are pickles, and a pickle can run code: refuse those that want more than tensors."""

import argparse
import pickle  # only for its class of errors
import pickletools
import re
import warnings
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Any

from vlmatch.errors import VlmatchError


def restricted_load(path: Path, device: str = "cpu") -> Any:
    """Read a PyTorch file with torch's reader that runs no code; `device='meta'` leaves the numbers out.

    Raises pickle.UnpicklingError if the file wants more than tensors and plain values; on a damaged file, whatever
    torch raises.
    """
    import torch

    with warnings.catch_warnings(), torch.serialization.safe_globals(_plain_values()):
        warnings.simplefilter("ignore")  # of protocols and programs that it can't read; it also raises
        return torch.load(path, map_location=device, weights_only=True)


def _plain_values() -> list[Any]:
    """What trainers often keep beside the tensors: arguments, numbers of numpy, paths. None of it can run code."""
    import numpy as np

    scalar = np._core.multiarray.scalar  # type: ignore[attr-defined] # private, but the name that files have
    numbers = [type(np.dtype(kind)) for kind in ("f2", "f4", "f8", "i4", "i8", "u1", "?")]
    older = (scalar, "numpy.core.multiarray.scalar")
    return [argparse.Namespace, Path, type(Path()), np.dtype, scalar, older, *numbers]


def refuse_code(model: str, path: Path) -> None:
    """Raise VlmatchError if the weights at `path` are a pickle that wants more than tensors; safetensors never are.

    Call it before a library reads the file. A damaged file passes: the library will report the damage.
    model: for the message, e.g. "encoder 'clip_l14'".
    """
    if path.suffix == ".safetensors":
        return
    try:
        restricted_load(path, "meta")
    except Exception as error:  # a damaged pickle raises anything
        if wanted := _wanted_by(error, path):
            raise VlmatchError(
                f"{model}: '{path}' is a pickle that holds more than tensors ({wanted}), which may be code; it is "
                "refused: get the weights as safetensors, or as a file that holds only tensors"
            ) from error


def _wanted_by(error: Exception, path: Path) -> str | None:
    """What a file wants besides tensors, according to torch's reader; None if it is only damaged."""
    if "TorchScript" in str(error):
        return "it is a TorchScript program"
    if not isinstance(error, pickle.UnpicklingError):
        return None
    told = re.search(r"GLOBAL (\S+)", str(error))
    wanted = told[1] if told else _first_named(path)  # torch can't read newer protocols
    return f"it wants '{wanted}'" if wanted else None


def _first_named(path: Path) -> str | None:
    """The first class or function outside torch that a pickle names; it is disassembled, not run."""
    try:
        if not zipfile.is_zipfile(path):
            with path.open("rb") as file:
                return next((name for name in _named(file) if not name.startswith("torch.")), None)
        with zipfile.ZipFile(path) as archive:
            member = next(name for name in archive.namelist() if name.endswith("data.pkl"))
            with archive.open(member) as file:
                return next((name for name in _named(file) if not name.startswith("torch.")), None)
    except Exception:  # a damaged pickle, as above
        return None


def _named(file: IO[bytes]) -> Iterator[str]:
    texts: list[str] = []
    for operation, argument, _ in pickletools.genops(file):
        if operation.name == "GLOBAL":
            yield str(argument).replace(" ", ".")
        elif operation.name == "STACK_GLOBAL":
            yield ".".join(texts[-2:])
        elif isinstance(argument, str):
            texts.append(argument)
