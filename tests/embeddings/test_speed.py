"""The embedding loop at speed: overlapped, with one decode for all encoders, and in pieces where memory is short."""

import random
import shutil
import threading
import time
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from misbehaving import THUMBNAIL, Thumbnail, compute, trainer_of
from vlmatch.embeddings import predict
from vlmatch.embeddings.batches import AHEAD, PreparedBatches, batches_of
from vlmatch.embeddings.decoded import DecodedImages
from vlmatch.embeddings.store import Shards, Store
from vlmatch.errors import VlmatchError
from vlmatch.machine import waiting
from vlmatch.probes.pairs import ProbeSet

IMAGE_BYTES = 40 * 32 * 4


def numbered(n: int, size: int) -> list[list[int]]:
    return [list(range(start, min(start + size, n))) for start in range(0, n, size)]


def test_threads_change_neither_order_nor_bytes(pictures: ProbeSet, tmp_path: Path) -> None:
    one, _ = compute(THUMBNAIL, pictures, Store(tmp_path / "one"), num_workers=0)
    many, _ = compute(THUMBNAIL, pictures, Store(tmp_path / "many"), num_workers=4)
    assert one.array.tobytes() == many.array.tobytes()
    assert one.header == many.header


@pytest.mark.parametrize("threads", [0, 1, 5])
def test_batches_come_in_order_whatever_each_item_takes(threads: int) -> None:
    def prepare(row: int) -> int:
        time.sleep(random.random() / 500)
        return row * row

    rows = numbered(50, 7)
    found = list(PreparedBatches(rows, prepare, list, threads=threads))
    assert found == [(batch, [row * row for row in batch]) for batch in rows]


def test_a_few_batches_are_prepared_ahead_while_one_is_in_use_and_no_more() -> None:
    prepared: list[int] = []
    batches = iter(PreparedBatches(numbered(100, 5), prepared.append, list, threads=3))
    for consumed in range(1, 4):
        next(batches)
        wanted = (consumed + AHEAD) * 5
        deadline = time.monotonic() + 10
        while len(prepared) < wanted and time.monotonic() < deadline:
            time.sleep(0.01)
        time.sleep(0.05)
        assert len(prepared) == wanted
    batches.close()
    time.sleep(0.05)
    assert len(prepared) == wanted
    assert not [thread for thread in threading.enumerate() if thread.name.startswith(("prepare", "collate"))]


@pytest.mark.usefixtures("decodes")
def test_an_image_that_fails_ends_the_loop_with_its_own_error(pictures: ProbeSet, tmp_path: Path) -> None:
    pictures.pairs[7].image.write_bytes(b"no image")
    with pytest.raises(VlmatchError, match=f"{pictures.pairs[7].image.name}.*can't be decoded"):
        compute(THUMBNAIL, pictures, Store(tmp_path))


def test_preparing_threads_leave_the_cores_to_the_model() -> None:
    before = torch.get_num_threads()
    ((_, numbers),) = PreparedBatches([[0, 1, 2]], lambda row: torch.get_num_threads(), list, threads=2)
    assert numbers == [1, 1, 1]
    assert torch.get_num_threads() == before


def test_batches_never_cross_a_shard(tmp_path: Path) -> None:
    shards = Shards(tmp_path, "", range(11), 4)
    assert batches_of(shards, [0, 2], 2) == [[0, 1], [2, 3], [8, 9], [10]]


@pytest.fixture
def decodes(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """The rows that are decoded from now on, with an empty store of decoded images."""
    rows: list[int] = []
    decode = ProbeSet.image

    def counted(probe: ProbeSet, row: int) -> Image.Image:
        rows.append(row)
        return decode(probe, row)

    monkeypatch.setattr(ProbeSet, "image", counted)
    monkeypatch.setattr(predict, "DECODED", DecodedImages())
    return rows


def test_two_encoders_share_one_decode(pictures: ProbeSet, tmp_path: Path, decodes: list[int]) -> None:
    first, _ = compute(THUMBNAIL, pictures, Store(tmp_path))
    second, _ = compute({**THUMBNAIL, "name": "other"}, pictures, Store(tmp_path))
    assert sorted(decodes) == list(range(len(pictures)))
    np.testing.assert_array_equal(first.array, second.array)


def test_what_does_not_fit_is_decoded_again(pictures: ProbeSet, decodes: list[int]) -> None:
    images = DecodedImages(limit=5 * IMAGE_BYTES + 1)
    for _ in range(2):
        for row in range(len(pictures)):
            assert images.image(pictures, row).tobytes() == pictures.image(row).tobytes()
            decodes.pop()  # the comparison's own
    assert decodes == [*range(12), *range(5, 12)]
    assert images.bytes == 5 * IMAGE_BYTES


def test_images_of_another_probe_take_the_place(pictures: ProbeSet, decodes: list[int]) -> None:
    images = DecodedImages()
    fewer = type(pictures)("fewer", pictures.pairs[6:], pictures.counts)
    assert images.image(pictures, 0).tobytes() != images.image(fewer, 0).tobytes()
    assert images.bytes == IMAGE_BYTES
    assert decodes == [0, 0]


def test_an_encoder_that_changes_its_image_spoils_nothing(pictures: ProbeSet) -> None:
    images = DecodedImages()
    for _ in range(2):
        image = images.image(pictures, 0)
        assert image.size == (40, 32)
        image.thumbnail((4, 4))


@pytest.mark.parametrize("kind", ["gpu memory", "cpu memory", "python memory"])
def test_out_of_memory_goes_on_in_smaller_pieces(
    pictures: ProbeSet, tmp_path: Path, kind: str, capsys: pytest.CaptureFixture[str]
) -> None:
    whole, _ = compute(THUMBNAIL, pictures, Store(tmp_path / "whole"))
    capsys.readouterr()
    config = {**THUMBNAIL, "fail": kind, "at_most": 1}
    pieces, _ = compute(config, pictures, Store(tmp_path / "pieces"), batch_size=4)
    np.testing.assert_array_equal(whole.array, pieces.array)
    said = [line for line in capsys.readouterr().out.splitlines() if "out of memory" in line]
    assert said == [
        f"encoder 't': out of memory with {tried} images at once; going on with {tried // 2} (trainer.batch_size=4)"
        for tried in (4, 2)
    ]


def test_out_of_memory_with_a_single_image_is_one_line(pictures: ProbeSet, tmp_path: Path) -> None:
    with pytest.raises(VlmatchError, match=r"encoder 't': out of memory .* the images one at a time; choose"):
        compute({**THUMBNAIL, "fail": "gpu memory"}, pictures, Store(tmp_path))


def test_other_errors_name_the_model_and_those_of_a_compiler_say_what_to_do(pictures: ProbeSet, tmp_path: Path) -> None:
    with pytest.raises(
        VlmatchError, match=r"running a batch of 2 failed \(RuntimeError: shapes cannot be mul.*task=check"
    ):
        compute({**THUMBNAIL, "fail": "other"}, pictures, Store(tmp_path))
    with pytest.raises(VlmatchError, match=r"torch.compile failed \(no working.*trainer.compile=false"):
        compute({**THUMBNAIL, "fail": "compiler"}, pictures, Store(tmp_path))


def test_batches_of_every_form_are_cut_alike() -> None:
    ids = torch.arange(12).reshape(6, 2)
    assert predict._piece(ids, 2, 4).tolist() == [[4, 5], [6, 7]]
    pieces = predict._piece({"ids": ids, "parts": (ids, ids + 1)}, 4, 8)
    assert pieces["ids"].tolist() == [[8, 9], [10, 11]]
    assert pieces["parts"][1].tolist() == [[9, 10], [11, 12]]


class Waves(Thumbnail):
    """A forward pass that a compiler can make one kernel of."""

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        return (images / 100).sin() * 2 + images.cos()


@pytest.mark.slow
def test_a_compiled_model_gives_the_same_numbers(pictures: ProbeSet, tmp_path: Path) -> None:
    if shutil.which("g++") is None and shutil.which("clang++") is None:
        pytest.skip("no C++ compiler for torch.compile")
    found = []
    for compiled in (False, True):
        shards = Shards(tmp_path / str(compiled), "", range(len(pictures)), 6)
        trainer = trainer_of(batch_size=6, num_workers=0, compile=compiled)
        predict.predict_missing(Waves("waves"), pictures, shards, trainer)
        found.append(shards.merged())
    np.testing.assert_allclose(found[1], found[0], rtol=1e-5, atol=1e-6)


def test_away_from_a_terminal_progress_is_a_line_now_and_then(
    pictures: ProbeSet, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    compute(THUMBNAIL, pictures, Store(tmp_path / "quick"))
    assert capsys.readouterr().out == "encoder 't': embedding 12 of 12 images\n"
    monkeypatch.setattr(waiting, "BETWEEN_LINES", 0.0)
    compute(THUMBNAIL, pictures, Store(tmp_path / "slow"))
    lines = capsys.readouterr().out.splitlines()[1:]
    assert [line.partition(" images, ")[0] for line in lines] == [
        f"encoder 't': {done} of 12" for done in (2, 4, 6, 8, 10, 12)
    ]
    assert all(" a second, 0:00:0" in line and line.endswith(" left") for line in lines)


def test_another_number_format_is_said_stored_and_has_its_own_place(
    pictures: ProbeSet, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    found, _ = compute(THUMBNAIL, pictures, Store(tmp_path), precision="bf16-mixed")
    assert capsys.readouterr().out == "encoder 't': embedding 12 of 12 images, forward pass in bf16-mixed\n"
    assert found.header.spec.precision == "bf16-mixed"
    assert found.header.spec.slug == "paper_bf16-mixed"


def test_on_a_terminal_progress_is_a_bar_with_rate_and_time_left(
    pictures: ProbeSet, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FORCE_COLOR", "1")
    monkeypatch.setenv("COLUMNS", "120")
    compute({**THUMBNAIL, "seconds": 0.05}, pictures, Store(tmp_path))
    shown = capsys.readouterr().out
    assert "images/s" in shown
    assert "12/12" in shown
