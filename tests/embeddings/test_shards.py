"""Shards of an unfinished array: taken up only if they are whole, of this fingerprint, and of these rows."""

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from misbehaving import THUMBNAIL, compute
from vlmatch.embeddings.header import EmbeddingSpec
from vlmatch.embeddings.store import FILE, Shards, Store, read_header, sha256_of, write_array
from vlmatch.errors import VlmatchError
from vlmatch.files import unused_name
from vlmatch.machine.disk import is_refused
from vlmatch.probes.pairs import ProbeSet
from vlmatch.settings.buildable import EncoderSettings

ROWS = np.arange(20, dtype=np.float32).reshape(10, 2)
ORDER = [9, 0, 8, 1, 7, 2, 6, 3, 5, 4]


def shards(folder: Path, fingerprint: str = "mine", size: int = 4) -> Shards:
    return Shards(folder, fingerprint, ORDER, size)


def filled(folder: Path, fingerprint: str = "mine") -> Shards:
    """Three shards of 4, 4 and 2 rows."""
    found = shards(folder, fingerprint)
    for shard in range(found.n_shards):
        found.write(shard, ROWS[list(found.rows(shard))])
    return found


def test_shards_of_another_fingerprint_are_not_taken(tmp_path: Path) -> None:
    filled(tmp_path, "another")
    assert shards(tmp_path).missing() == [0, 1, 2]
    with pytest.raises(VlmatchError, match="run the same command again"):
        shards(tmp_path).merged()
    assert shards(tmp_path, "another").missing() == []


@pytest.mark.parametrize("missing", [0, 1, 2])
def test_a_single_shard_that_vanishes_is_one_line(tmp_path: Path, missing: int) -> None:
    found = filled(tmp_path)
    sorted((tmp_path / "shards").iterdir())[missing].unlink()
    with pytest.raises(VlmatchError, match="a shard was removed while it was in use; run the same command again"):
        found.merged()


def test_shards_are_cleared_once_or_twice(tmp_path: Path) -> None:
    for _ in range(2):
        filled(tmp_path).clear()
        shards(tmp_path).clear()
        assert list(tmp_path.iterdir()) == []


def test_headers_come_in_the_order_of_folders_however_the_disk_lists_them(
    pictures: ProbeSet, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = Store(tmp_path)
    for name in "bca":
        compute({**THUMBNAIL, "name": name}, pictures, store)
    original = Path.glob
    for order in (sorted, lambda found: sorted(found, reverse=True)):
        monkeypatch.setattr(Path, "glob", lambda path, pattern, order=order: order(original(path, pattern)))
        assert [header.spec.model for _, header in store.headers(pictures.key)] == ["a", "b", "c"]


def test_rows_come_back_in_the_order_of_their_numbers(tmp_path: Path) -> None:
    np.testing.assert_array_equal(filled(tmp_path).merged(), ROWS)
    assert [len(shards(tmp_path).rows(shard)) for shard in range(3)] == [4, 4, 2]


DAMAGES: dict[str, Callable[[bytes], bytes]] = {
    "emptied": lambda content: b"",
    "cut": lambda content: content[: len(content) // 2],
    "cut by a byte": lambda content: content[:-1],
    "flipped in its numbers": lambda content: content[:-3] + bytes([content[-3] ^ 1]) + content[-2:],
    "flipped in its length": lambda content: bytes([content[0] ^ 255]) + content[1:],
    "flipped in its header": lambda content: content[:12] + bytes([content[12] ^ 4]) + content[13:],
    "another file": lambda content: json.dumps({"not": "ours"}).encode(),
}


@pytest.mark.parametrize("damage", DAMAGES)
def test_a_damaged_shard_alone_is_computed_again(tmp_path: Path, damage: str) -> None:
    found = filled(tmp_path)
    path = sorted((tmp_path / "shards").iterdir())[1]
    path.write_bytes(DAMAGES[damage](path.read_bytes()))
    assert found.missing() == [1]


def test_a_shard_of_too_few_rows_or_without_its_checksum_is_computed_again(tmp_path: Path) -> None:
    found = filled(tmp_path)
    found.write(0, ROWS[:3])
    path = sorted((tmp_path / "shards").iterdir())[2]
    write_array(path, ROWS[:2], {"fingerprint": "mine"})
    assert found.missing() == [0, 2]
    write_array(path, ROWS[:2], {"fingerprint": "mine", "array_sha256": sha256_of(ROWS[:2])})
    assert found.missing() == [0]


def test_what_a_killed_run_of_other_settings_left_is_not_mixed_in(pictures: ProbeSet, tmp_path: Path) -> None:
    other = {**THUMBNAIL, "seconds": 0.001}  # the same folder, another fingerprint
    expected, _ = compute(THUMBNAIL, pictures, Store(tmp_path / "clean"))
    left, _ = compute(other, pictures, Store(tmp_path))
    folder = Store(tmp_path).folder(left.header.spec)
    order = list(range(len(pictures)))
    stale = Shards(folder, left.header.fingerprint, order, 4)
    for shard in range(stale.n_shards):
        stale.write(shard, left.array[list(stale.rows(shard))] + 1)
    found, cost = compute(THUMBNAIL, pictures, Store(tmp_path))
    assert cost.items == len(pictures)
    np.testing.assert_array_equal(found.array, expected.array)


def test_a_file_that_can_not_be_read_is_no_damage_and_nothing_is_computed_again(
    pictures: ProbeSet, tmp_path: Path
) -> None:
    store, found = Store(tmp_path), filled(tmp_path)
    spec = compute(THUMBNAIL, pictures, store)[0].header.spec
    shard, path = sorted((tmp_path / "shards").iterdir())[1], store.folder(spec) / FILE
    for unreadable in (shard, path):
        unreadable.unlink()
        unreadable.symlink_to(unreadable.name)  # even root can't read it
    for reading in (found.missing, lambda: store.read(spec), lambda: read_header(path)):
        with pytest.raises(OSError, match="symbolic links") as caught:
            reading()
        assert is_refused(caught.value)
        assert caught.value.filename in (str(shard), str(path))
    with pytest.raises(OSError, match="symbolic links"):
        compute(THUMBNAIL, pictures, store)


@pytest.mark.parametrize("change", [{"dimension": 47}, {"fingerprint": "0" * 64}, {"spec": {"n_pairs": 11}}])
def test_a_header_that_does_not_describe_its_array_is_damaged(
    pictures: ProbeSet, tmp_path: Path, change: dict[str, Any]
) -> None:
    store = Store(tmp_path)
    found, _ = compute(THUMBNAIL, pictures, store)
    path = store.folder(found.header.spec) / FILE
    if "spec" in change:
        change = {"spec": replace(found.header.spec, **change["spec"])}
    write_array(path, found.array, {"header": replace(found.header, **change).to_json()})
    assert read_header(path) is None
    assert store.read(found.header.spec) is None
    assert store.damaged(pictures.key) == [path]
    assert list(store.headers(pictures.key)) == []


def test_half_a_file_that_a_killed_run_left_is_removed(pictures: ProbeSet, tmp_path: Path) -> None:
    spec = EmbeddingSpec.of(EncoderSettings.of("encoder", THUMBNAIL), pictures, "32-true")
    folder = Store(tmp_path).folder(spec)
    (folder / "shards").mkdir(parents=True)
    for whole in (folder / FILE, folder / "shards" / "00000-of-00003.safetensors"):
        unused_name(whole).write_bytes(b"half")
    compute(THUMBNAIL, pictures, Store(tmp_path))
    assert [path.name for path in folder.rglob("*")] == [FILE]


def test_hidden_files_and_folders_of_others_stay(pictures: ProbeSet, tmp_path: Path) -> None:
    spec = EmbeddingSpec.of(EncoderSettings.of("encoder", THUMBNAIL), pictures, "32-true")
    folder = Store(tmp_path).folder(spec)
    (folder / ".ipynb_checkpoints").mkdir(parents=True)
    for name in (".gitignore", ".nfs000000000000a1b200000001"):
        (folder / name).write_text("not ours")
    compute(THUMBNAIL, pictures, Store(tmp_path))
    names = {path.name for path in folder.iterdir()}
    assert names == {FILE, ".ipynb_checkpoints", ".gitignore", ".nfs000000000000a1b200000001"}
