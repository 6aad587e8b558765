"""A user's folder: CSV, TSV or JSONL in any Unicode, and errors that name the row."""

import json
from pathlib import Path

import pytest

from vlmatch.errors import VlmatchError
from vlmatch.probes.folder import folder
from vlmatch.probes.images import ImageError


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
    with pytest.raises(VlmatchError, match=r"csv line 3: image '.*x\.png' of 'x\.png' can't be read \(No such"):
        folder(write_csv(mine, "image,caption\na.png,A cat.\nx.png,A dog.\n"))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("image,caption\na.png,A cat.\nb.png,\n", "captions.csv line 3: the caption of 'b.png' is empty"),
        ("image,caption\na.png,A cat.\n,A dog.\n", "captions.csv line 3: 'image' or 'file_name' is None"),
        ("image\na.png\n", "captions.csv has no column 'caption' or 'text'; it has image"),
        (
            "picture,caption\na.png,A cat.\n",
            "has no column 'image' or 'file_name'; it has picture, caption",
        ),
        (
            "image,caption\na.png,A cat, asleep.\n",
            "line 2: .* more fields than the header, split at a comma",
        ),
        ("image,caption,id\na.png,A cat.,7\nb.png,A dog.,7\n", "id '7' appears twice"),
        ("image,caption\na.png,A cat.\n", "1 pair left of 1 read"),
        ("", "0 pairs left of 0 read"),
        ('image,caption\na.png,"A cat.\n', "captions.csv after line 1 .*unexpected end of data"),
    ],
)
def test_a_bad_csv_is_told_by_row(mine: Path, text: str, message: str) -> None:
    with pytest.raises(VlmatchError, match=message):
        folder(write_csv(mine, text))


def test_a_csv_in_another_encoding_is_refused(mine: Path) -> None:
    (mine / "captions.csv").write_bytes(b"image,caption\na.png,Fr\xf6sche\n")
    with pytest.raises(VlmatchError, match=r"captions\.csv .*UTF-8"):
        folder(mine)


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ('{"image": ', "line 2: it is not JSON"),
        ("[1]", "line 2: it is of type list"),
        ('{"image": "b.png"}', "line 2: the caption of 'b.png' is empty"),
        ('{"image": ["b.png"], "caption": "A dog."}', r"line 2: 'image' or 'file_name' is \['b.png'\]"),
        ('{"image": "b.png", "caption": {"en": "A dog."}}', "line 2: 'caption' or 'text' is of type dict"),
        ('{"image": "b.png", "caption": [["A dog."]]}', "line 2: 'caption' or 'text' is of type list"),
        ('{"image": "b.png", "caption": []}', "line 2: the caption of 'b.png' is empty"),
    ],
)
def test_a_bad_jsonl_is_told_by_line(mine: Path, line: str, message: str) -> None:
    (mine / "captions.jsonl").write_text('{"image": "a.png", "caption": "A cat."}\n' + line)
    with pytest.raises(VlmatchError, match=message):
        folder(mine)


def test_a_table_may_be_named_itself_and_have_tabs(mine: Path) -> None:
    text = 'image\tcaption\na.png\tA cat, asleep.\n"b.png"\t"A ""dog"", awake."\n'
    (mine / "list.tsv").write_text(text, encoding="utf-8")
    write_csv(mine, "image,caption\nb.png,A dog.\nc.png,A cow.\n")
    assert folder(mine / "list.tsv").captions == ["A cat, asleep.", 'A "dog", awake.']
    assert folder(mine / "captions.csv").captions == ["A dog.", "A cow."]
    (mine / "captions.csv").unlink()
    (mine / "list.tsv").rename(mine / "captions.tsv")
    assert folder(mine).captions == ["A cat, asleep.", 'A "dog", awake.']
    with pytest.raises(VlmatchError, match=r"a\.png is neither a folder nor a table \(\.csv, \.tsv, \.jsonl, \.json\)"):
        folder(mine / "a.png")


@pytest.mark.parametrize("encoding", ["utf-8", "utf-16-le", "utf-16-be", "utf-32-le", "utf-32-be"])
@pytest.mark.parametrize("mark", ["", "\ufeff"])
@pytest.mark.parametrize("suffix", [".csv", ".tsv", ".jsonl", ".json"])
def test_every_unicode_is_read_right_with_and_without_its_mark(
    mine: Path, encoding: str, mark: str, suffix: str
) -> None:
    captions = ["Ein Frösch\u2028chen.", "蛙"]
    pairs = list(zip(["a.png", "b.png"], captions, strict=True))
    if suffix.startswith(".json"):
        rows = [json.dumps({"image": image, "caption": caption}, ensure_ascii=False) for image, caption in pairs]
        text = "\n".join(rows) if suffix == ".jsonl" else f"[{','.join(rows)}]"
    else:
        separator = "," if suffix == ".csv" else "\t"
        text = "".join(f"{image}{separator}{caption}\n" for image, caption in [("image", "caption"), *pairs])
    (mine / f"captions{suffix}").write_bytes((mark + text).encode(encoding))
    assert folder(mine).captions == captions


@pytest.mark.parametrize("delimiter", [";", "\t", "|"])
def test_a_csv_with_another_delimiter_is_read_by_its_header(mine: Path, delimiter: str) -> None:
    rows = [["image", " caption"], ["a.png", "A cat, asleep."], ["b.png", '"A dog; awake."']]
    write_csv(mine, "".join(delimiter.join(row) + "\n" for row in rows))
    assert folder(mine).captions == ["A cat, asleep.", "A dog; awake."]
    write_csv(mine, "".join(delimiter.join([*row, "x"]) + "\n" for row in rows[1:]))
    with pytest.raises(VlmatchError, match=r"captions\.csv has no column 'image'"):
        folder(mine)


def test_of_several_captions_the_first_is_used_and_the_sheet_says_so(mine: Path) -> None:
    rows: list[object] = [
        {"image": "a.png", "caption": [" A cat. ", "A kitten."]},
        {"image": "b.png", "caption": ["A dog."]},
        {"image": "c.png", "caption": "A cow."},
    ]
    probe = folder(write_jsonl(mine, rows))
    assert probe.captions == ["A cat.", "A dog.", "A cow."]
    assert probe.sheet()["several_captions"] == 1
    assert "several captions: 1 pairs list more than one; the first is used" in probe.data_sheet()


def test_bad_lines_of_a_jsonl_are_skipped_and_counted_if_asked(mine: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("VLMATCH_CACHE", str(mine / "cache"))
    good = [json.dumps({"image": f"{name}.png", "caption": name}) for name in "ab"]
    bad = ['{"image": ', "[1]", '{"caption": "x"}', '{"image": "c.png", "caption": {}}', '{"image": "c.png"}']
    bad.append('{"image": "c.png", "caption": "half \\ud83d"}')
    (mine / "captions.jsonl").write_text("\n".join([good[0], *bad, good[1]]))
    probe = folder(mine, bad_rows="skip")
    assert probe.captions == ["a", "b"]
    assert sum(probe.counts.skipped.values()) == len(bad)
    assert probe.counts.skipped["malformed"] == 2


def test_bad_rows_are_skipped_counted_and_named_if_asked(
    mine: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setenv("VLMATCH_CACHE", str(mine / "cache"))
    (mine / "c.png").write_bytes(b"hello")
    write_csv(mine, 'image,caption\na.png,A.\nx.png,X.\nb.png,\nc.png,C.\n"sub/d, e.png",D.\n')
    probe = folder(mine, bad_rows="skip")
    assert probe.captions == ["A.", "D."]
    assert probe.counts.skipped == {"not there": 1, "without a caption": 1, "can't be decoded": 1}
    assert (probe.counts.read, probe.counts.kept) == (2, 2)
    for text in (caplog.text, "\n".join(probe.data_sheet())):
        assert "captions.csv line 3: image" in text
        assert "x.png' of 'x.png' can't be read (No such file" in text
        assert "line 4: the caption of 'b.png' is empty" in text
        assert "c.png' can't be decoded" in text


def test_an_image_that_breaks_while_it_is_embedded_says_how_to_skip_such_rows(mine: Path) -> None:
    (mine / "c.png").write_bytes(b"hello")
    probe = folder(write_csv(mine, "image,caption\na.png,A.\nc.png,C.\n"))
    with pytest.raises(ImageError, match=r"c\.png' can't be decoded .*; or skip .*: probe\.bad_rows=skip"):
        probe.image(1)


def test_neither_or_both_lists_are_refused(mine: Path) -> None:
    with pytest.raises(VlmatchError, match=r"no captions\.csv, captions\.tsv or captions\.jsonl"):
        folder(mine)
    write_csv(mine, "image,caption\n")
    write_jsonl(mine, [])
    with pytest.raises(VlmatchError, match=r"captions\.csv and captions\.jsonl in"):
        folder(mine)
