"""Embeddings from elsewhere: arrays whose rows belong to the pairs of a probe set."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from vlmatch.errors import NotHereError, VlmatchError, one_line

SUFFIXES = (".npy", ".safetensors", ".parquet")
ID = "id"  # the column of a Parquet file
IDS = "ids"  # the metadata of a safetensors file: a JSON list


def read_rows(what: str, path: Path, ids: Sequence[str]) -> NDArray[np.float32]:
    """The embeddings of the pairs `ids` in the file `path`: (n, d), row i for pair i.

    - .npy: one array of n rows, in the order of the pairs.
    - .safetensors: one tensor; with a JSON list of ids in its metadata, under 'ids', its rows are found by id.
    - .parquet: a column `id` and one column of lists; its rows are found by id.

    Rows of ids that the pairs do not have are left out. `what` names the model in errors, as in "encoder 'mine'".

    Raises NotHereError if the file does not exist, VlmatchError if it is none of these or does not fit the pairs.
    """
    if not path.is_file():
        raise NotHereError(f"{what}: path={path} is not a file; give a {', '.join(SUFFIXES)} file")
    if path.suffix not in SUFFIXES:
        raise VlmatchError(f"{what}: path={path} ends in '{path.suffix}'; give a {', '.join(SUFFIXES)} file")
    read = {".npy": _numpy, ".safetensors": _safetensors, ".parquet": _parquet}[path.suffix]
    source = f"{what}: {path.name}"
    try:
        array, own_ids = read(source, path)
    except VlmatchError:
        raise
    except Exception as error:  # each library has errors of its own for files that are cut short or are something else
        raise VlmatchError(f"{source} can't be read ({one_line(error)[:160]}); save it again") from error
    return matched_rows(source, array, own_ids, ids)


def matched_rows(
    source: str, array: ArrayLike, own_ids: Sequence[Any] | None, ids: Sequence[str]
) -> NDArray[np.float32]:
    """The rows of `array` for the pairs `ids`, in their order, as float32.

    own_ids: the ids of the array's rows, by which rows are found; None: one row per pair, in the pairs' order.
    Raises VlmatchError if the array is not (n, d) finite real numbers, or does not fit the pairs.
    """
    rows = np.asarray(array)
    if rows.ndim != 2 or rows.shape[1] < 1:
        raise VlmatchError(f"{source}: shape {rows.shape}, wanted (n, d): one vector per pair")
    if rows.dtype.kind not in "fiu":
        raise VlmatchError(f"{source}: dtype {rows.dtype}, wanted real numbers, such as float32")
    if own_ids is not None:
        rows = rows[_places(source, [str(each) for each in own_ids], len(rows), ids)]
    elif len(rows) != len(ids):
        raise VlmatchError(
            f"{source}: {len(rows)} rows, but the probe has {len(ids)} pairs; give one row per pair, in their order, "
            "or ids with the rows"
        )
    with np.errstate(over="ignore"):
        single = rows.astype(np.float32)
    unusable = ~np.isfinite(single).all(axis=1)
    if unusable.any():
        first = int(unusable.argmax())
        raise VlmatchError(
            f"{source}: {unusable.sum()} of {len(single)} rows hold NaN, infinity or numbers too large for float32, "
            f"the first is that of pair '{ids[first]}'; compute it again, or leave the pair out of the probe"
        )
    return single


def _places(source: str, own_ids: Sequence[str], n_rows: int, ids: Sequence[str]) -> list[int]:
    """The row of each pair."""
    if len(own_ids) != n_rows:
        raise VlmatchError(f"{source}: {len(own_ids)} ids for {n_rows} rows; give one id per row")
    places = {each: place for place, each in enumerate(own_ids)}
    if len(places) < len(own_ids):
        twice = next(each for place, each in enumerate(own_ids) if places[each] != place)
        raise VlmatchError(f"{source}: id '{twice}' has more than one row; give each id one row")
    missing = [each for each in ids if each not in places]
    if missing:
        example = f", which start with '{own_ids[0]}'" if own_ids else ""
        raise VlmatchError(
            f"{source}: no row for {len(missing)} of the probe's {len(ids)} ids, the first is '{missing[0]}'; it has "
            f"{len(own_ids)} ids{example}. Label the rows with the ids of the probe's pairs"
        )
    return [places[each] for each in ids]


def _numpy(source: str, path: Path) -> tuple[ArrayLike, None]:
    return np.load(path, allow_pickle=False), None


def _safetensors(source: str, path: Path) -> tuple[ArrayLike, list[Any] | None]:
    from safetensors import safe_open

    with safe_open(path, framework="pt") as file:  # NumPy has no bfloat16
        names = list(file.keys())
        if len(names) != 1:
            raise VlmatchError(f"{source} holds {len(names)} tensors ({', '.join(names[:5])}); wanted one")
        ids = (file.metadata() or {}).get(IDS)
        return file.get_tensor(names[0]).float().numpy(), None if ids is None else list(json.loads(ids))


def _parquet(source: str, path: Path) -> tuple[ArrayLike, list[Any]]:
    import pyarrow.parquet
    from pyarrow import types

    table = pyarrow.parquet.read_table(path)
    lists = [
        field.name
        for field in table.schema
        if types.is_list(field.type) or types.is_large_list(field.type) or types.is_fixed_size_list(field.type)
    ]
    if ID not in table.column_names or len(lists) != 1:
        raise VlmatchError(
            f"{source} has columns {', '.join(table.column_names)}; wanted '{ID}' and one column of lists of numbers"
        )
    values = table.column(lists[0]).to_pylist()
    lengths = {len(each or ()) for each in values}
    if len(lengths) != 1:
        raise VlmatchError(f"{source}: the lists in '{lists[0]}' have {min(lengths)} to {max(lengths)} numbers; wanted "
                           "the same number in each")  # fmt: skip
    return np.array(values), table.column(ID).to_pylist()
