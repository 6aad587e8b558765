"""Read weights of Keras models, from HDF5 or TensorFlow.js, as tensors in PyTorch's layout; no Keras code runs."""

import base64
import binascii
import math
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from vlmatch.errors import VlmatchError, one_line

# One weight in a TensorFlow.js manifest. A quantised one is stored as bytes: value = scale * byte + min.
_WEIGHT = re.compile(
    r'\{name:"(?P<name>[^"]+)",shape:\[(?P<shape>[\d,]*)\],dtype:"(?P<dtype>\w+)"'
    r'(?:,quantization:\{min:(?P<min>[^,]+),scale:(?P<scale>[^,]+),dtype:"(?P<stored>\w+)"\})?'
)
_DTYPES = {"uint8": "<u1", "uint16": "<u2", "int32": "<i4", "float32": "<f4"}
_PATHS = re.compile(r"paths:\[([^\]]+)\]")
_BASE64 = re.compile(r'exports="([A-Za-z0-9+/=]*)"')


def read_keras(name: str, path: Path) -> dict[str, Tensor]:
    """Every weight of an .h5 file or a TensorFlow.js script, under its name there, in PyTorch's layout.

    `name` is the encoder's, for error messages.

    Kernels (h, w, in, out) become (out, in, h, w), depthwise ones (h, w, c, 1) become (c, 1, h, w), dense ones
    (in, out) become (out, in). Raises VlmatchError on a damaged file.
    """
    try:
        arrays = dict(_from_hdf5(path) if path.suffix == ".h5" else _from_tfjs(name, path))
    except (OSError, ValueError, KeyError, binascii.Error) as error:
        raise VlmatchError(
            f"encoder '{name}': weights '{path}' can't be read as Keras weights ({one_line(error)[:160]}); "
            "give an .h5 file of plain arrays, or the script of a TensorFlow.js model beside its shards"
        ) from error
    return {key: _in_torch_layout(key, array) for key, array in arrays.items()}


def shards(name: str, script: Path) -> list[Path]:
    """The files beside a TensorFlow.js model's script that hold its bytes, in order."""
    text = script.read_text(encoding="utf-8", errors="replace")
    names = [part.strip('"') for group in _PATHS.findall(text) for part in group.split(",")]
    files = [script.parent / f"{part}.min.js" for part in names]
    if not files or any("/" in part for part in names) or not all(file.is_file() for file in files):
        raise VlmatchError(
            f"encoder '{name}': '{script}' does not name shards that are all beside it; give the script of a "
            "TensorFlow.js model in its whole folder, or an .h5 file"
        )
    return files


def _from_hdf5(path: Path) -> Iterator[tuple[str, np.ndarray[Any, Any]]]:
    import h5py

    with h5py.File(path, "r") as file:
        names: list[str] = []
        file.visit(names.append)
        for key in names:
            if isinstance(file[key], h5py.Dataset) and file[key].dtype.kind == "f":
                yield key, np.asarray(file[key], dtype=np.float32)


def _from_tfjs(name: str, script: Path) -> Iterator[tuple[str, np.ndarray[Any, Any]]]:
    text = script.read_text(encoding="utf-8")
    encoded = [_BASE64.search(shard.read_text(encoding="utf-8")) for shard in shards(name, script)]
    if not all(encoded):
        raise ValueError("a shard holds no base64 text")
    data = b"".join(base64.b64decode(found[1]) for found in encoded if found)
    start = 0
    for entry in _WEIGHT.finditer(text, text.index("weightsManifest:")):
        shape = [int(side) for side in entry["shape"].split(",") if side]
        stored = np.dtype(_DTYPES[entry["stored"] or entry["dtype"]])
        end = start + math.prod(shape) * stored.itemsize
        values = np.frombuffer(data[start:end], dtype=stored).astype(np.float32).reshape(shape)
        if entry["stored"]:
            values = values * np.float32(entry["scale"]) + np.float32(entry["min"])
        yield entry["name"], values
        start = end
    if start != len(data):
        raise ValueError(f"its shards hold {len(data)} bytes, its manifest lists {start}")


def _in_torch_layout(key: str, array: np.ndarray[Any, Any]) -> Tensor:
    if array.ndim == 4:
        array = array.transpose((2, 3, 0, 1) if "depthwise" in key else (3, 2, 0, 1))
    return torch.from_numpy(np.ascontiguousarray(array.T if array.ndim == 2 else array))
