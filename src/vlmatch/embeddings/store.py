"""The store: one folder per probe, model and spec, with verified embeddings or the shards of an unfinished run."""

import contextlib
import hashlib
import json
import os
import shutil
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save

from vlmatch.embeddings.header import EmbeddingSpec, Header
from vlmatch.errors import VlmatchError
from vlmatch.files import ABSENT, half_written, remembering, renamed
from vlmatch.machine.waiting import locked

Array = np.ndarray[Any, np.dtype[Any]]
FILE = "embeddings.safetensors"
_UNUSABLE = (*ABSENT, SafetensorError, ValueError, KeyError, TypeError)  # absent or damaged


@dataclass(frozen=True)
class Embeddings:
    """n embeddings of one probe set by one model: `array` is (n, d) float32, rows in the order of the pairs."""

    array: Array
    header: Header

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> Array:
        """The array, for functions of NumPy and for `vlmatch.score`."""
        return np.array(self.array, dtype=dtype, copy=copy)


class Store:
    """Embeddings on disk under `root/embeddings/<probe>/<model>/<spec>/`."""

    def __init__(self, root: Path | str) -> None:
        self.root = Path(root)

    def folder(self, spec: EmbeddingSpec) -> Path:
        """Where the embeddings of this spec lie."""
        return self.root / "embeddings" / spec.probe / spec.model / spec.slug

    def read(self, spec: EmbeddingSpec) -> Embeddings | None:
        """The embeddings, or None when they are absent, stale or damaged; nothing unverified is ever returned.

        What `spec` states for the spec sheet replaces what was stated before. Raises OSError if the file exists but
        can't be read, because that is no reason to compute it again.
        """
        found = read_file(self.folder(spec) / FILE)
        if found is None or found.header.fingerprint != spec.fingerprint:
            return None
        stated = {**found.header.spec.stated, **spec.stated}
        return replace(found, header=replace(found.header, spec=replace(found.header.spec, stated=stated)))

    def restate(self, found: Embeddings) -> None:
        """Keep what is stated now, as `read` gives it, in the file, so that rankings of the store know it too."""
        spec, path = found.header.spec, self.folder(found.header.spec) / FILE
        kept = read_header(path)
        if kept is not None and kept.spec.stated != spec.stated:
            with self.locked(spec):
                write_array(path, found.array, {"header": found.header.to_json()})

    def read_ranked(self, spec: EmbeddingSpec) -> Embeddings:
        """The embeddings of a model that is ranked. Raises VlmatchError if they are damaged or were removed."""
        found = self.read(spec)
        if found is None:
            raise damaged_error(self.folder(spec) / FILE)
        return found

    def headers(self, probe: str) -> Iterator[tuple[Path, Header]]:
        """Folder and header of every finished array of a probe set, sorted by folder; arrays are not read."""
        for path in sorted((self.root / "embeddings" / probe).glob(f"*/*/{FILE}")):
            header = read_header(path)
            if header is not None:
                yield path.parent, header

    def damaged(self, probe: str) -> list[Path]:
        """The files of finished arrays of a probe set whose header is damaged, as after a full disk."""
        files = sorted((self.root / "embeddings" / probe).glob(f"*/*/{FILE}"))
        return [path for path in files if read_header(path) is None]

    @contextlib.contextmanager
    def locked(self, spec: EmbeddingSpec) -> Iterator[Path]:
        """Lock this spec's folder against other processes and yield its path.

        A killed run may have left half a file there, under a hidden temporary name. It is removed, because no other
        process writes here now. Other hidden files and folders are not ours, and stay.
        """
        folder = self.folder(spec)
        folder.mkdir(parents=True, exist_ok=True)
        # Beside the folder, not in it: the folder's bytes belong to DVC.
        with locked(folder.parent / f".{folder.name}.lock", f"embedding by {spec.kind} '{spec.model}'"):
            for left in half_written(folder):
                left.unlink(missing_ok=True)
            yield folder


def write_array(path: Path, array: Array, metadata: Mapping[str, str], *, wait: bool = True) -> None:
    """Write an array and its metadata under a temporary name and rename it into place.

    wait: whether to wait until the file is on the disk, so that a power failure can't destroy it.
    """
    with renamed(path) as temporary, temporary.open("wb") as file:
        file.write(save({"embeddings": np.ascontiguousarray(array)}, metadata=dict(metadata)))
        file.flush()
        if wait:
            os.fsync(file.fileno())


def read_file(path: Path) -> Embeddings | None:
    """The array and header of one file, or None when it is absent, cut short, or not what its header says.

    Raises OSError if the file can't be read.
    """
    try:
        with _opened(path) as file:
            header = _header_in(file)
            array = file.get_tensor("embeddings")
    except _UNUSABLE:
        return None
    return Embeddings(array, header) if sha256_of(array) == header.array_sha256 else None


def damaged_error(path: Path) -> VlmatchError:
    """The error about a file whose array or header is not what was written."""
    return VlmatchError(f"{path} is damaged; remove its folder and embed again")


@remembering
def read_header(path: Path) -> Header | None:
    """The header of one file, or None when it is absent or damaged. Raises OSError if the file can't be read."""
    try:
        with _opened(path) as file:
            return _header_in(file)
    except _UNUSABLE:
        return None


@contextlib.contextmanager
def _opened(path: Path) -> Iterator[Any]:
    """An open .safetensors file. Raises OSError if it can't be read."""
    with path.open("rb"):  # safetensors reports any failure to open a file as FileNotFoundError
        pass
    with safe_open(path, framework="np") as file:
        yield file


def _header_in(file: Any) -> Header:
    """The header of an open file; raises ValueError if it does not describe the array beside it."""
    header = Header.from_json(file.metadata()["header"])
    if tuple(file.get_slice("embeddings").get_shape()) != header.shape:
        raise ValueError(f"the header says {header.shape}")
    return header


def sha256_of(array: Array) -> str:
    """SHA-256 of an array's shape, type and bytes."""
    digest = hashlib.sha256(json.dumps([list(array.shape), str(array.dtype)]).encode())
    digest.update(np.ascontiguousarray(array).tobytes())
    return digest.hexdigest()


class Shards:
    """The rows of one unfinished array, in files of `size` rows, so that a killed run loses at most one of them.

    order: the row numbers in the order in which they are computed and stored.
    """

    def __init__(self, folder: Path, fingerprint: str, order: Sequence[int], size: int) -> None:
        self.folder = folder / "shards"
        self.fingerprint = fingerprint
        self.order = order
        self.size = size

    @property
    def n_shards(self) -> int:
        """How many shards the rows fill."""
        return -(-len(self.order) // self.size)

    def rows(self, shard: int) -> Sequence[int]:
        """The numbers of the rows that a shard holds."""
        return self.order[shard * self.size : (shard + 1) * self.size]

    def missing(self) -> list[int]:
        """The shards still to compute; one that is damaged or of another spec counts as missing."""
        return [shard for shard in range(self.n_shards) if self.read(shard) is None]

    def write(self, shard: int, array: Array) -> None:
        """Store the rows of one shard."""
        about = {"fingerprint": self.fingerprint, "array_sha256": sha256_of(array)}
        write_array(self._path(shard), array, about, wait=False)  # the checksum shows an incomplete file

    def read(self, shard: int) -> Array | None:
        """The rows of one shard, or None."""
        try:
            with _opened(self._path(shard)) as file:
                about, array = file.metadata(), file.get_tensor("embeddings")
        except _UNUSABLE:
            return None
        intact = about.get("fingerprint") == self.fingerprint and about.get("array_sha256") == sha256_of(array)
        return array if intact and len(array) == len(self.rows(shard)) else None

    def merged(self) -> Array:
        """All rows, in the order of their numbers; every shard must be there."""
        parts = [self.read(shard) for shard in range(self.n_shards)]
        widths = {part.shape[1] for part in parts if part is not None}
        if any(part is None for part in parts) or len(widths) != 1:
            raise VlmatchError(f"{self.folder}: a shard was removed while it was in use; run the same command again")
        stored = np.concatenate([part for part in parts if part is not None])
        array = np.empty_like(stored)
        array[self.order] = stored
        return array

    def clear(self) -> None:
        """Remove the shards."""
        shutil.rmtree(self.folder, ignore_errors=True)

    def _path(self, shard: int) -> Path:
        return self.folder / f"{shard:05d}-of-{self.n_shards:05d}.safetensors"
