"""Embeddings from elsewhere: every format gives the same rows, and what doesn't fit the pairs is one line."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
from safetensors.numpy import save_file
from safetensors.torch import save_file as save_tensors

from vlmatch.errors import NotHereError, VlmatchError
from vlmatch.probes.array_file import matched_rows, read_rows

IDS = ["a", "b", "c"]
ROWS = np.arange(6, dtype=np.float32).reshape(3, 2)


def as_npy(path: Path, rows: Any = ROWS) -> Path:
    np.save(path.with_suffix(".npy"), rows, allow_pickle=True)
    return path.with_suffix(".npy")


def as_safetensors(path: Path, rows: np.ndarray = ROWS, ids: list[str] | None = None) -> Path:
    metadata = {"ids": json.dumps(ids)} if ids is not None else None
    save_file({"features": rows}, path.with_suffix(".safetensors"), metadata=metadata)
    return path.with_suffix(".safetensors")


def as_parquet(path: Path, rows: Any = ROWS, ids: Any = IDS, column: str = "embedding") -> Path:
    pq.write_table(pa.table({"id": ids, column: [list(row) for row in rows]}), path.with_suffix(".parquet"))
    return path.with_suffix(".parquet")


@pytest.mark.parametrize("save", [as_npy, as_safetensors, as_parquet])
def test_each_format_gives_its_rows_in_single_precision(save: Callable[[Path], Path], tmp_path: Path) -> None:
    found = read_rows("encoder 'x'", save(tmp_path / "x"), IDS)
    np.testing.assert_array_equal(found, ROWS)
    assert found.dtype == np.float32


def test_rows_with_ids_are_put_into_the_order_of_the_pairs_and_others_left_out(tmp_path: Path) -> None:
    ids, rows = ["c", "z", "a", "b"], ROWS[[2, 0, 0, 1]]
    for path in (as_parquet(tmp_path / "x", rows, ids), as_safetensors(tmp_path / "x", rows, ids)):
        np.testing.assert_array_equal(read_rows("encoder 'x'", path, IDS), ROWS)
    numbers = as_parquet(tmp_path / "y", ROWS, [3, 1, 2])
    np.testing.assert_array_equal(read_rows("encoder 'x'", numbers, ["1", "2", "3"]), ROWS[[1, 2, 0]])


def test_half_precision_and_whole_numbers_are_taken(tmp_path: Path) -> None:
    path = tmp_path / "x.safetensors"
    save_tensors({"f": torch.tensor(ROWS).bfloat16()}, path)
    np.testing.assert_array_equal(read_rows("encoder 'x'", path, IDS), ROWS)
    np.testing.assert_array_equal(read_rows("encoder 'x'", as_npy(tmp_path / "x", ROWS.astype(int)), IDS), ROWS)


def truncated(path: Path) -> Path:
    path.write_bytes(path.read_bytes()[:-8])
    return path


def with_two_tensors(path: Path) -> Path:
    save_file({"one": ROWS, "two": ROWS}, path.with_suffix(".safetensors"))
    return path.with_suffix(".safetensors")


def with_text(path: Path) -> Path:
    path.with_suffix(".npy").write_text("features")
    return path.with_suffix(".npy")


@pytest.mark.parametrize(
    ("save", "parts"),
    [
        (lambda path: as_npy(path, ROWS[:2]), ["x.npy", "2 rows", "3 pairs"]),
        (lambda path: as_npy(path, ROWS[0]), ["x.npy", "(2,)"]),
        (lambda path: as_npy(path, ROWS[None]), ["x.npy", "(1, 3, 2)"]),
        (lambda path: as_npy(path, ROWS.astype(object)), ["x.npy", "allow_pickle"]),
        (lambda path: as_npy(path, ROWS.astype(str)), ["x.npy", "dtype <U"]),
        (lambda path: as_npy(path, ROWS + 1j), ["x.npy", "dtype complex64"]),
        (lambda path: as_npy(path, np.where(ROWS == 3, np.nan, ROWS)), ["x.npy", "1 of 3", "'b'"]),
        (lambda path: as_npy(path, ROWS.astype(float) * 1e200), ["x.npy", "of 3", "float32"]),
        (lambda path: truncated(as_npy(path)), ["x.npy", "can't be read"]),
        (with_text, ["x.npy", "can't be read"]),
        (with_two_tensors, ["x.safetensors", "2 tensors", "one"]),
        (lambda path: truncated(as_safetensors(path)), ["x.safetensors", "can't be read"]),
        (lambda path: as_safetensors(path, ids=["a", "b"]), ["x.safetensors", "2 ids", "3 rows"]),
        (lambda path: as_parquet(path, ids=["a", "b", "z"]), ["x.parquet", "1 of the probe's 3", "'c'"]),
        (lambda path: as_parquet(path, ids=["a", "b", "a"]), ["x.parquet", "'a'", "more than one"]),
        (lambda path: as_parquet(path, [[1.0], [1.0, 2.0], [1.0]]), ["x.parquet", "'embedding'", "1 to 2"]),
        (lambda path: as_parquet(path, [["a"], ["b"], ["c"]]), ["x.parquet", "dtype"]),
        (lambda path: truncated(as_parquet(path)), ["x.parquet", "can't be read"]),
    ],
)
def test_what_does_not_fit_the_pairs_is_one_line(
    save: Callable[[Path], Path], parts: list[str], tmp_path: Path
) -> None:
    with pytest.raises(VlmatchError) as caught:
        read_rows("encoder 'x'", save(tmp_path / "x"), IDS)
    message = str(caught.value)
    assert all(part in message for part in ["encoder 'x'", *parts])
    assert "\n" not in message


def test_a_parquet_file_without_the_columns_names_those_it_has(tmp_path: Path) -> None:
    path = tmp_path / "x.parquet"
    pq.write_table(pa.table({"name": IDS, "v": [1.0, 2.0, 3.0]}), path)
    with pytest.raises(VlmatchError, match="name, v"):
        read_rows("encoder 'x'", path, IDS)


def test_a_file_that_is_not_there_or_of_another_kind_is_named(tmp_path: Path) -> None:
    with pytest.raises(NotHereError, match=r"path=.*x\.npy"):
        read_rows("encoder 'x'", tmp_path / "x.npy", IDS)
    (tmp_path / "x.pt").write_bytes(b"")
    with pytest.raises(VlmatchError, match=r"path=.*x\.pt.*'\.pt'"):
        read_rows("encoder 'x'", tmp_path / "x.pt", IDS)


def test_ids_of_an_array_in_memory_are_matched_alike() -> None:
    np.testing.assert_array_equal(matched_rows("x", ROWS, ["b", "c", "a"], IDS), ROWS[[2, 0, 1]])
