"""A probe set knows when it has changed, and its data sheet tells what it is made of."""

import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from vlmatch.probes.folder import folder
from vlmatch.probes.pairs import Pair, ProbeCounts, ProbeSet
from vlmatch.probes.stamps import stamps

captions = st.sampled_from(["A frog.", "a  FROG.", "A toad.", "Eine Kröte.", "x"])
images = st.sampled_from(["i0", "i1", "i2", "i3"])


def fingerprint(pairs: list[Pair], name: str = "p") -> str:
    """Of a probe set of these pairs."""
    return ProbeSet(name, tuple(pairs), ProbeCounts(len(pairs), 0, 0, len(pairs))).fingerprint


@given(st.lists(st.tuples(captions, images), min_size=3, max_size=20, unique=True), st.data())
def test_the_fingerprint_sees_captions_images_ids_and_order_but_not_places_and_labels(
    rows: list[tuple[str, str]], data: st.DataObject
) -> None:
    pairs = [Pair(str(number), Path(image), caption, image) for number, (caption, image) in enumerate(rows)]
    moved = [Pair(p.id, Path("elsewhere"), p.caption, p.image_sha256, "a label") for p in pairs]
    assert fingerprint(moved, "q") == fingerprint(pairs)
    place = data.draw(st.integers(0, len(rows) - 1))
    one = pairs[place]
    for changed in (
        Pair(one.id, one.image, one.caption + "!", one.image_sha256),
        Pair(one.id, one.image, one.caption, "another image"),
        Pair("another id", one.image, one.caption, one.image_sha256),
    ):
        assert fingerprint([*pairs[:place], changed, *pairs[place + 1 :]]) != fingerprint(pairs)
    assert fingerprint(pairs[::-1]) != fingerprint(pairs)


@pytest.fixture
def mine(tmp_path: Path) -> Path:
    """Four images of different sizes, one caption twice, and a drawing."""
    rows = [
        ("a", 30, 10, "A cat."),
        ("b", 8, 8, "A big black dog barks."),
        ("c", 5, 400, "Two words"),
        ("d", 9, 9, "a CAT."),
    ]
    lines = ["image,caption,label"]
    for name, width, height, caption in rows:
        Image.new("RGB", (width, height), "red").save(tmp_path / f"{name}.png")
        lines.append(f"{name}.png,{caption},{'pet' if 'at' in caption.lower() else ''}")
    (tmp_path / "e.svg").write_text('<svg xmlns="http://www.w3.org/2000/svg" width="4" height="4"/>')
    (tmp_path / "captions.csv").write_text("\n".join([*lines, "e.svg,Nothing at all.,pet"]) + "\n")
    return tmp_path


def test_the_sheet_holds_counts_sizes_lengths_and_labels(mine: Path) -> None:
    sheet = folder(mine).sheet()
    assert json.loads(json.dumps(sheet)) == sheet
    assert sheet["read"] == 5
    assert sheet["kept"] == 4
    assert sheet["dropped"] == {"a repeated caption": 1}
    assert sheet["skipped"] == {}
    assert sheet["entries"] is None
    sizes = {"images": 3, "unreadable": 0, "deep_greys": 0, "smallest": [8, 8], "median": [30, 10], "largest": [5, 400]}
    assert sheet["image_sizes"] == sizes
    assert sheet["caption_words"] == {"min": 2, "median": 2, "max": 5}
    assert sheet["labels"] == {"pet": 2}


def test_the_sheet_in_words(mine: Path) -> None:
    assert folder(mine).data_sheet()[:-1] == [
        "probe folder: 4 pairs kept of 5 read",
        "distinct captions: 4; distinct images: 5; 1 dropped for a repeated caption",
        "image sizes: 8 x 8 to 5 x 400, median 30 x 10 (3 images)",
        "words in a caption: 2 to 5, median 2",
        "labels: 1 (pet 2)",
        "source: captions.csv; licence: none stated",
    ]


def test_the_sheet_tells_images_that_have_gone_or_are_none(mine: Path) -> None:
    probe = folder(mine)
    (mine / "a.png").unlink()
    (mine / "b.png").write_bytes(b"hello")
    assert probe.sheet()["image_sizes"]["unreadable"] == 2
    assert "2 can't be read" in "\n".join(probe.data_sheet())


def test_the_sheet_of_the_real_stamps(stamps_folder: Path, archive: object) -> None:
    sheet = stamps(stamps_folder, archive).sheet()  # type: ignore[arg-type]
    assert sheet["fingerprint"].startswith("1d0c3db0")
    assert sheet["kept"] == sheet["image_sizes"]["images"] == 644
    assert sum(sheet["dropped"].values()) == 785 - 644
    assert len(sheet["labels"]) == 16
