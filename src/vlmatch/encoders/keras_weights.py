"""Read weights of Keras and TensorFlow.js models as tensors in PyTorch's layout; none of their code runs."""

import base64
import json
import math
import re
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from vlmatch.errors import VlmatchError, one_line
from vlmatch.machine.disk import faults_as

# One weight in a TensorFlow.js manifest. A quantised one is stored as bytes: value = scale * byte + min.
_WEIGHT = re.compile(
    r'\{name:"(?P<name>[^"]+)",shape:\[(?P<shape>[\d,]*)\],dtype:"(?P<dtype>\w+)"'
    r'(?:,quantization:\{min:(?P<min>[^,]+),scale:(?P<scale>[^,]+),dtype:"(?P<stored>\w+)"\})?'
)
_DTYPES = {"uint8": "<u1", "uint16": "<u2", "int32": "<i4", "float32": "<f4"}
_PATHS = re.compile(r"paths:\[([^\]]+)\]")
_BASE64 = re.compile(r'exports="([A-Za-z0-9+/=]*)"')


def read_keras(name: str, path: Path) -> dict[str, Tensor]:
    """Every weight of an .h5 file, TensorFlow.js script or manifest, by its name there, in PyTorch's layout.

    `name` is the encoder's, for error messages.

    Kernels (h, w, in, out) become (out, in, h, w), depthwise ones (h, w, c, 1) become (c, 1, h, w), dense ones
    (in, out) become (out, in). Raises VlmatchError on a damaged file.
    """

    def unreadable(error: Exception) -> VlmatchError:
        return VlmatchError(
            f"encoder '{name}': weights '{path}' can't be read as Keras weights ({one_line(error)[:160]}); "
            "give an .h5 file of plain arrays, or a TensorFlow.js model's script or .json manifest beside its shards"
        )

    with faults_as(unreadable):
        arrays = dict(_READERS.get(path.suffix, _from_script)(name, path))
    return {key: _in_torch_layout(key, array) for key, array in arrays.items()}


def shards(name: str, script: Path) -> list[Path]:
    """The files beside a TensorFlow.js model's script or manifest that hold its bytes, in order."""
    text = script.read_text(encoding="utf-8", errors="replace")
    if script.suffix == ".json":
        names = [str(part) for group in _groups(text) for part in group["paths"]]
        files = [script.parent / part for part in names]
    else:
        names = [part.strip('"') for group in _PATHS.findall(text) for part in group.split(",")]
        files = [script.parent / f"{part}.min.js" for part in names]
    if not files or any("/" in part for part in names) or not all(file.is_file() for file in files):
        raise VlmatchError(
            f"encoder '{name}': '{script}' names no shards, or not all of them are beside it; give the script of a "
            "TensorFlow.js model in its complete folder, or an .h5 file"
        )
    return files


def _from_hdf5(name: str, path: Path) -> Iterator[tuple[str, np.ndarray[Any, Any]]]:
    import h5py

    with h5py.File(path, "r") as file:
        names: list[str] = []
        file.visit(names.append)
        for key in names:
            if isinstance(file[key], h5py.Dataset) and file[key].dtype.kind == "f":
                yield key, np.asarray(file[key], dtype=np.float32)


def _from_manifest(name: str, manifest: Path) -> Iterator[tuple[str, np.ndarray[Any, Any]]]:
    data = b"".join(shard.read_bytes() for shard in shards(name, manifest))
    entries = [entry for group in _groups(manifest.read_text(encoding="utf-8")) for entry in group["weights"]]
    return _unpacked(data, [entry | {"stored": None} | _quantised(entry) for entry in entries])


def _from_script(name: str, script: Path) -> Iterator[tuple[str, np.ndarray[Any, Any]]]:
    text = script.read_text(encoding="utf-8")
    encoded = [_BASE64.search(shard.read_text(encoding="utf-8")) for shard in shards(name, script)]
    if not all(encoded):
        raise ValueError("a shard holds no base64 text")
    data = b"".join(base64.b64decode(found[1]) for found in encoded if found)
    found = [each.groupdict() for each in _WEIGHT.finditer(text, text.index("weightsManifest:"))]
    return _unpacked(
        data, [each | {"shape": [int(side) for side in each["shape"].split(",") if side]} for each in found]
    )


def _groups(manifest: str) -> list[dict[str, Any]]:
    """The groups of weights of a TensorFlow.js manifest in JSON."""
    return list(json.loads(manifest))


def _quantised(entry: Mapping[str, Any]) -> dict[str, Any]:
    """How a weight is stored as bytes, as the manifest says; empty if it is not stored as bytes."""
    how = entry.get("quantization")
    return {"stored": how["dtype"], "min": how["min"], "scale": how["scale"]} if how else {}


def _unpacked(data: bytes, entries: Iterable[Mapping[str, Any]]) -> Iterator[tuple[str, np.ndarray[Any, Any]]]:
    """Each entry's name and values, read from the bytes in order; ValueError if bytes are missing or left over."""
    start = 0
    for entry in entries:
        stored = np.dtype(_DTYPES[entry["stored"] or entry["dtype"]])
        end = start + math.prod(entry["shape"]) * stored.itemsize
        values = np.frombuffer(data[start:end], dtype=stored).astype(np.float32).reshape(entry["shape"])
        if entry["stored"]:
            values = values * np.float32(entry["scale"]) + np.float32(entry["min"])
        yield entry["name"], values
        start = end
    if start != len(data):
        raise ValueError(f"its shards hold {len(data)} bytes, its manifest lists {start}")


_READERS = {".h5": _from_hdf5, ".json": _from_manifest}


def _in_torch_layout(key: str, array: np.ndarray[Any, Any]) -> Tensor:
    if array.ndim == 4:
        array = array.transpose((2, 3, 0, 1) if "depthwise" in key else (3, 2, 0, 1))
    return torch.from_numpy(np.ascontiguousarray(array.T if array.ndim == 2 else array))
