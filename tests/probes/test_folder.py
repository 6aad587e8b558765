"""A user's folder: CSV or JSONL, and errors that name the row."""

import json
from pathlib import Path

import pytest

from vlmatch.errors import VlmatchError
from vlmatch.probes.folder import folder


@pytest.fixture
def mine(tmp_path: Path, pixel: bytes) -> Path:
    """Four images, one of them in a subfolder."""
    (tmp_path / "sub").mkdir()
    for number, name in enumerate(["a.png", "b.png", "c.png", "sub/d, e.png"]):
        (tmp_path / name).write_bytes(pixel + bytes([number]))
    return tmp_path


def write_csv(path: Path, text: str) -> Path:
    """Writes captions.csv."""
    (path / "captions.csv").write_text(text, encoding="utf-8")
    return path


def write_jsonl(path: Path, rows: list[object]) -> Path:
    """Writes captions.jsonl."""
    (path / "captions.jsonl").write_text("\n".join(json.dumps(row) for row in rows))
    return path


def test_a_csv_with_quotes_labels_and_a_byte_order_mark(mine: Path) -> None:
    text = '\ufeffimage,caption,label\na.png,"A cat, asleep.",pet\n"sub/d, e.png",Ein Hund.,\n'
    probe = folder(write_csv(mine, text))
    assert [(p.id, p.caption, p.label) for p in probe.pairs] == [
        ("a.png", "A cat, asleep.", "pet"),
        ("sub/d, e.png", "Ein Hund.", None),
    ]
    assert probe.image(0).mode == "RGB"


def test_jsonl_gives_the_same_pairs_as_csv(mine: Path) -> None:
    as_csv = folder(write_csv(mine, "file_name,text,id\na.png,A cat.,1\nb.png,A dog.,2\n"))
    (mine / "captions.csv").unlink()
    rows: list[object] = [
        {"file_name": "a.png", "text": "A cat.", "id": 1},
        {"image": "b.png", "caption": " A dog. ", "id": "2"},
    ]
    as_jsonl = folder(write_jsonl(mine, rows))
    assert as_jsonl.pairs == as_csv.pairs
    assert as_jsonl.fingerprint == as_csv.fingerprint


def test_several_captions_of_one_image_get_ids_of_their_own(mine: Path) -> None:
    write_csv(mine, "image,caption\na.png,A cat.\na.png,A kitten.\nb.png,A dog.\n")
    probe = folder(mine, drop_duplicates=False)
    assert [pair.id for pair in probe.pairs] == ["a.png", "a.png#2", "b.png"]
    assert folder(mine).captions == ["A cat.", "A dog."]


def test_an_image_that_is_not_there_is_named_with_its_row(mine: Path) -> None:
    with pytest.raises(VlmatchError, match=r"line 3: image '.*x\.png' is not there"):
        folder(write_csv(mine, "image,caption\na.png,A cat.\nx.png,A dog.\n"))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("image,caption\na.png,A cat.\nb.png,\n", "captions.csv line 3 has no 'caption' or 'text'"),
        ("image,caption\na.png,A cat.\n,A dog.\n", "captions.csv line 3 has no 'image' or 'file_name'"),
        ("picture,caption\na.png,A cat.\n", "captions.csv line 2 has no 'image' or 'file_name'"),
        ("image,caption\na.png,A cat, asleep.\n", "captions.csv line 2 has more fields than the header"),
        ("image,caption,id\na.png,A cat.,7\nb.png,A dog.,7\n", "id '7' appears twice"),
        ("image,caption\na.png,A cat.\n", "1 pair left of 1 read"),
        ("", "0 pairs left of 0 read"),
        ('image,caption\na.png,"A cat.\n', "captions.csv is no UTF-8 CSV"),
    ],
)
def test_a_bad_csv_is_told_by_row(mine: Path, text: str, message: str) -> None:
    with pytest.raises(VlmatchError, match=message):
        folder(write_csv(mine, text))


def test_a_csv_in_another_encoding_is_refused(mine: Path) -> None:
    (mine / "captions.csv").write_bytes(b"image,caption\na.png,Fr\xf6sche\n")
    with pytest.raises(VlmatchError, match="no UTF-8 CSV"):
        folder(mine)


@pytest.mark.parametrize(
    ("line", "message"),
    [('{"image": ', "line 2 is no JSON"), ("[1]", "line 2 is no JSON object"), ('{"image": "b.png"}', "line 2 has no")],
)
def test_a_bad_jsonl_is_told_by_line(mine: Path, line: str, message: str) -> None:
    (mine / "captions.jsonl").write_text('{"image": "a.png", "caption": "A cat."}\n' + line)
    with pytest.raises(VlmatchError, match=message):
        folder(mine)


def test_neither_or_both_lists_are_refused(mine: Path) -> None:
    with pytest.raises(VlmatchError, match="neither captions"):
        folder(mine)
    write_csv(mine, "image,caption\n")
    write_jsonl(mine, [])
    with pytest.raises(VlmatchError, match="both captions"):
        folder(mine)
