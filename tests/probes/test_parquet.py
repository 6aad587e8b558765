"""Parquet with encoded images: structs or bytes, several files and row groups, and errors that name the column."""

import io
import os
import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image

from vlmatch.errors import VlmatchError
from vlmatch.probes.images import ImageError
from vlmatch.probes.parquet import ParquetCell, parquet


def encoded(grey: int) -> bytes:
    """A small PNG of one grey."""
    buffer = io.BytesIO()
    Image.new("RGB", (6, 5), (grey, grey, grey)).save(buffer, "PNG")
    return buffer.getvalue()


def write(file: Path, images: list[Any], **columns: list[Any]) -> Path:
    """A file with three rows a row group."""
    captions = columns.pop("caption", [f"{file.stem} {n}." for n in range(len(images))])
    pq.write_table(pa.table({"image": images, "caption": captions, **columns}), file, row_group_size=3)
    return file


@pytest.fixture(params=["struct", "bytes"])
def files(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    """Two files with seven and two rows."""
    for name, greys in (("one", range(7)), ("two", range(7, 9))):
        images: list[Any] = [encoded(grey) for grey in greys]
        if request.param == "struct":
            images = [{"bytes": content, "path": "a.png"} for content in images]
        write(tmp_path / f"{name}.parquet", images)
    return tmp_path


@pytest.mark.parametrize("pattern", ["", "*.parquet"])
def test_rows_of_all_files_in_order(files: Path, pattern: str) -> None:
    probe = parquet(str(files / pattern))
    assert probe.captions == [f"one {n}." for n in range(7)] + [f"two {n}." for n in range(2)]
    assert [pair.id for pair in probe.pairs] == [f"one/{n}" for n in range(7)] + ["two/0", "two/1"]
    for place in np.random.default_rng(0).permutation(9):
        assert np.asarray(probe.image(int(place))).max() == place


def test_files_of_one_name_in_several_folders_have_ids_of_their_own(tmp_path: Path) -> None:
    for number, place in enumerate(("split=a", "split=b")):
        (tmp_path / place).mkdir()
        write(tmp_path / place / "part-0.parquet", [encoded(10 * number + n) for n in range(2)], caption=["A.", "B."])
    probe = parquet(str(tmp_path / "*" / "*.parquet"), drop_duplicates=False)
    assert [pair.id for pair in probe.pairs] == [f"split={each}/part-0/{n}" for each in "ab" for n in range(2)]


def test_a_pointer_of_git_lfs_says_how_to_get_the_file(tmp_path: Path) -> None:
    (tmp_path / "a.parquet").write_text("version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 3\n")
    with pytest.raises(VlmatchError, match=r"can't be read as Parquet .*; run 'git lfs pull' there"):
        parquet(str(tmp_path))


def test_columns_by_name_and_the_first_of_several_captions(tmp_path: Path) -> None:
    columns = {
        "picture": [encoded(n) for n in range(3)],
        "texts": [[f"First {n}.", "Second."] for n in range(3)],
        "key": [7, 8, 9],
        "kind": ["pet", None, "car"],
    }
    pq.write_table(pa.table(columns), tmp_path / "x.parquet")
    probe = parquet(str(tmp_path / "x.parquet"), image="picture", caption="texts", id="key", label="kind")
    assert [(pair.id, pair.caption, pair.label) for pair in probe.pairs] == [
        ("7", "First 0.", "pet"),
        ("8", "First 1.", None),
        ("9", "First 2.", "car"),
    ]


def test_names_with_brackets_are_no_patterns(tmp_path: Path) -> None:
    (tmp_path / "[v1]").mkdir()
    file = write(tmp_path / "[v1]" / "x[0-9].parquet", [encoded(n) for n in range(2)])
    assert len(parquet(str(file))) == len(parquet(str(file.parent))) == 2


def test_a_column_that_is_not_there_is_named_with_those_that_are(files: Path) -> None:
    with pytest.raises(VlmatchError, match=r"one\.parquet has no column 'picture' and 'key'; it has image, caption"):
        parquet(str(files), image="picture", id="key")


def test_captions_and_images_of_another_type_are_refused(tmp_path: Path) -> None:
    file = str(write(tmp_path / "x.parquet", [encoded(0), encoded(1)], caption=[1, 2]))
    with pytest.raises(VlmatchError, match=r"column 'caption' is of type int.*probe\.caption"):
        parquet(file)
    write(tmp_path / "y.parquet", ["a", "b"])
    with pytest.raises(VlmatchError, match=r"row 0 of row group 0 in .*y\.parquet' is of type str"):
        parquet(str(tmp_path / "y.parquet"))


def test_empty_cells_are_refused_or_skipped_and_counted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("VLMATCH_CACHE", str(tmp_path / "cache"))
    images = [encoded(0), None, encoded(2), encoded(3), encoded(4)[:-30]]
    file = str(write(tmp_path / "x.parquet", images, caption=["A.", "B.", "C.", None, "E."]))
    with pytest.raises(VlmatchError, match=r"row 1 of row group 0 .* is null"):
        parquet(file)
    probe = parquet(file, bad_rows="skip")
    assert probe.captions == ["A.", "C."]
    assert probe.counts.skipped == {"not there": 1, "without a caption": 1, "can't be decoded": 1}


def test_no_file_or_a_broken_one_is_refused(tmp_path: Path) -> None:
    with pytest.raises(VlmatchError, match="no Parquet file"):
        parquet(str(tmp_path))
    write(tmp_path / "x.parquet", [encoded(n) for n in range(9)])
    content = (tmp_path / "x.parquet").read_bytes()
    for broken in (b"", b"PAR1", content[:-20]):
        (tmp_path / f"{len(broken)}.parquet").write_bytes(broken)
        with pytest.raises(VlmatchError, match="can't be read as Parquet") as caught:
            parquet(str(tmp_path / f"{len(broken)}.parquet"))
        assert "\n" not in str(caught.value)


def test_a_cell_can_be_sent_to_another_process(files: Path) -> None:
    cell = parquet(str(files)).pairs[4].image
    assert isinstance(cell, ParquetCell)
    assert pickle.loads(pickle.dumps(cell)).read() == encoded(4)
    with pytest.raises(ImageError, match=r"row 0 of row group 0 in .* can't be read"):
        ParquetCell(files / "gone.parquet", "image", 0, 0).read()


@pytest.mark.parametrize("listed", [False, True])
def test_text_that_is_not_utf8_spoils_its_row_only(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, listed: bool
) -> None:
    monkeypatch.setenv("VLMATCH_CACHE", str(tmp_path / "cache"))
    raw = pa.array([b"One.", b"Fr\xf6sche", b"Three."], pa.binary())
    texts = pa.Array.from_buffers(pa.string(), 3, raw.buffers())
    captions = pa.ListArray.from_arrays([0, 1, 2, 3], texts) if listed else texts
    table = pa.table({"image": [encoded(n) for n in range(3)], "caption": captions})
    pq.write_table(table, tmp_path / "x.parquet")
    with pytest.raises(VlmatchError, match=r"row 1 .*one of its texts is not UTF-8 .*bad_rows=skip"):
        parquet(str(tmp_path / "x.parquet"))
    probe = parquet(str(tmp_path / "x.parquet"), bad_rows="skip")
    assert probe.captions == ["One.", "Three."]
    assert probe.counts.skipped == {"not valid Unicode": 1}


def test_captions_of_bytes_are_text_and_null_ids_are_row_numbers(tmp_path: Path) -> None:
    captions = pa.array([b"One.", "Zwei, süß.".encode()], pa.binary())
    columns = {"image": [encoded(n) for n in range(2)], "caption": captions, "key": ["a", None]}
    pq.write_table(pa.table(columns), tmp_path / "x.parquet")
    probe = parquet(str(tmp_path / "x.parquet"), id="key")
    assert [(pair.id, pair.caption) for pair in probe.pairs] == [("a", "One."), ("x/1", "Zwei, süß.")]


def test_two_columns_of_one_name_are_refused(tmp_path: Path) -> None:
    columns = [pa.array([encoded(0)]), pa.array(["One."]), pa.array(["Eins."])]
    pq.write_table(pa.table(columns, names=["image", "caption", "caption"]), tmp_path / "x.parquet")
    with pytest.raises(VlmatchError, match=r"x\.parquet has two columns 'caption'; rename or remove one"):
        parquet(str(tmp_path / "x.parquet"))


def test_an_image_by_its_path_starts_from_the_files_folder_and_is_no_pipe(tmp_path: Path) -> None:
    kind = pa.struct({"bytes": pa.binary(), "path": pa.string()})
    paths = ["0.png", "pipe.png"]
    (tmp_path / "0.png").write_bytes(encoded(0))
    os.mkfifo(tmp_path / "pipe.png")
    images = pa.array([{"bytes": None, "path": path} for path in paths], kind)
    pq.write_table(pa.table({"image": images, "caption": ["One.", "Two."]}), tmp_path / "x.parquet")
    with pytest.raises(VlmatchError, match=r"image 'row 1 .*it is a pipe, socket or device"):
        parquet(str(tmp_path / "x.parquet"))
    (tmp_path / "inner").mkdir()
    for path in (str(tmp_path / "0.png"), "../0.png", "x/../../0.png"):
        images = pa.array([{"bytes": encoded(1), "path": path}, {"bytes": None, "path": path}], kind)
        pq.write_table(pa.table({"image": images, "caption": ["One.", "Two."]}), tmp_path / "inner" / "x.parquet")
        with pytest.raises(VlmatchError, match=r"which only probe\.images_outside=true allows"):
            parquet(str(tmp_path / "inner"))
        assert len(parquet(str(tmp_path / "inner"), images_outside=True)) == 2
