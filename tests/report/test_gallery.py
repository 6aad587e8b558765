"""The gallery: small pictures inside the page, the words of their pairs, and an empty place where one is lost."""

import base64
import io
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from vlmatch.disagreement import FittingPair
from vlmatch.probes.pairs import ProbeEntry, ProbeSet
from vlmatch.probes.selection import ProbeOptions, build_probe_set
from vlmatch.report.gallery import gallery, thumbnail

SIZES = [(400, 100), (20, 30), (64, 500)]


@pytest.fixture
def probe(tmp_path: Path) -> ProbeSet:
    for place, size in enumerate(SIZES):
        Image.new("RGB", size, (200, 40 * place, 10)).save(tmp_path / f"{place}.png")
    entries = [ProbeEntry(f"id{i}", tmp_path / f"{i}.png", f"Caption <{i}>.", label="red") for i in range(len(SIZES))]
    return build_probe_set("three", entries, ProbeOptions())


def decoded(uri: str | None) -> Image.Image:
    assert uri is not None
    head, data = uri.split(",")
    assert head == "data:image/webp;base64"
    return Image.open(io.BytesIO(base64.b64decode(data, validate=True)))


def test_pictures_have_at_most_96_pixels_a_side_and_keep_their_shape(probe: ProbeSet) -> None:
    shown = gallery(probe, [0, 1, 2])
    assert [(each.width, each.height) for each in shown] == [(96, 24), (20, 30), (12, 96)]
    for each in shown:
        picture = decoded(each.image)
        assert picture.size == (each.width, each.height)
        colour = np.array(picture.convert("RGB")).mean(axis=(0, 1))
        np.testing.assert_allclose(colour, (200, 40 * each.index, 10), atol=6)


def test_pairs_keep_their_order_words_and_shares(probe: ProbeSet) -> None:
    shown = gallery(probe, [FittingPair(2, "id2", 0.5, 1.5), FittingPair(0, "id0", 0.1, 0.3)])
    assert [(each.index, each.id, each.caption, each.label) for each in shown] == [
        (2, "id2", "Caption <2>.", "red"),
        (0, "id0", "Caption <0>.", "red"),
    ]
    assert [(each.share, each.times_mean) for each in shown] == [(0.5, 1.5), (0.1, 0.3)]


def test_a_lost_image_leaves_its_place_empty_and_says_why(probe: ProbeSet, tmp_path: Path) -> None:
    (tmp_path / "1.png").unlink()
    lost, kept = gallery(probe, [1, 0])
    assert lost.image is None
    assert lost.problem is not None
    assert "is not there" in lost.problem
    assert lost.caption == "Caption <1>."
    assert kept.image is not None


def test_a_picture_of_noise_takes_a_few_kilobytes() -> None:
    noise = np.random.default_rng(0).integers(256, size=(300, 300, 3), dtype=np.uint8)
    assert len(thumbnail(Image.fromarray(noise))[0]) < 16_000


def test_a_colour_profile_is_left_out() -> None:
    image = Image.new("RGB", (50, 50), "red")
    image.info["icc_profile"] = bytes(100_000)
    assert len(thumbnail(image)[0]) < 1_000
