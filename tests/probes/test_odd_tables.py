"""Tables as other programs write them: what can be read is, and what can't be is named, or skipped and counted."""

import json
from pathlib import Path
from typing import Any

import pytest

from vlmatch.errors import VlmatchError
from vlmatch.probes.folder import folder


@pytest.fixture
def mine(tmp_path: Path, pixel: bytes, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Four images."""
    monkeypatch.setenv("VLMATCH_CACHE", str(tmp_path / "cache"))
    for number, name in enumerate("abcd"):
        (tmp_path / f"{name}.png").write_bytes(pixel + bytes([number]))
    return tmp_path


def write(path: Path, content: str | bytes, name: str = "captions.csv") -> Path:
    """Writes a table beside the images."""
    (path / name).write_bytes(content.encode() if isinstance(content, str) else content)
    return path


def lines(*rows: Any) -> str:
    """A JSONL."""
    return "\n".join(json.dumps(row) for row in rows)


@pytest.mark.parametrize(
    ("written", "read", "several"),
    [
        ('["A red dog.", "A dog."]', "A red dog.", True),
        ("['A red dog.', \"A dog's ear.\"]", "A red dog.", True),
        ('["A dog."]', "A dog.", False),
        ('["A dog" says the sign', '["A dog" says the sign', False),
        ("[1] A dog [2]", "[1] A dog [2]", False),
    ],
)
def test_a_list_of_captions_that_a_csv_has_as_text_is_a_list(
    mine: Path, written: str, read: str, several: bool
) -> None:
    """As pandas writes lists, and the table of Flickr30k on the hub has them."""
    quoted = written.replace('"', '""')
    probe = folder(write(mine, f'image,caption\na.png,"{quoted}"\nb.png,A bird.\n'))
    assert probe.captions == [read, "A bird."]
    assert probe.counts.several_captions == several


def test_a_list_that_nobody_can_read_back_is_refused(mine: Path) -> None:
    """NumPy leaves the commas out, and Python would join the texts."""
    write(mine, "image,caption\na.png,['A dog.' 'Dogs.']\nb.png,A bird.\nc.png,A cow.\n")
    with pytest.raises(VlmatchError, match=r"line 2: 'caption' or 'text' is a list that was written as a text"):
        folder(mine)
    assert folder(mine, bad_rows="skip").counts.skipped == {"with a caption that is not text": 1}


@pytest.mark.parametrize(
    ("caption", "said"),
    [
        (7, "is of type int (7)"),
        (3.0, "is of type float (3.0)"),
        (True, "is of type bool (true)"),
        ({"en": "A dog."}, "is of type dict"),
        ([["A dog."]], "is of type list"),
        ([5, "A dog."], "is of type int (5)"),
        (float("nan"), "the caption of 'b.png' is empty"),
        (None, "the caption of 'b.png' is empty"),
        ("", "the caption of 'b.png' is empty"),
        ([""], "the caption of 'b.png' is empty"),
        ([], "the caption of 'b.png' is empty"),
        (" \u3000\n", "the caption of 'b.png' is empty"),
        ("\u200b\ufeff\x00", "the caption of 'b.png' is empty"),
        ("NaN", "the caption of 'b.png' is 'NaN', which stands for no caption"),
        ("None", "the caption of 'b.png' is 'None'"),
        ("half \ud83d", "half a character"),
        ("x" * 1_000_001, "has 1,000,001 characters"),
    ],
)
def test_what_is_no_caption_is_named_or_skipped_and_counted(mine: Path, caption: Any, said: str) -> None:
    rows = [{"image": f"{name}.png", "caption": f"A {name}."} for name in "acd"]
    rows.insert(1, {"image": "b.png", "caption": caption})
    write(mine, lines(*rows), "captions.jsonl")
    with pytest.raises(VlmatchError) as caught:
        folder(mine)
    assert said in str(caught.value)
    assert "captions.jsonl line 2: " in str(caught.value)
    assert str(caught.value).endswith("or skip and count such rows: probe.bad_rows=skip")
    for options in ({"bad_rows": "skip"}, {"bad_images": "skip"}):  # the second is its old name
        probe = folder(mine, **options)
        assert probe.captions == ["A a.", "A c.", "A d."]
        assert sum(probe.counts.skipped.values()) == 1


def test_numbers_in_a_csv_are_captions_but_said(mine: Path, caplog: pytest.LogCaptureFixture) -> None:
    probe = folder(write(mine, "image,caption\na.png,7\nb.png,3.5\nc.png,A cow.\n"))
    assert probe.captions == ["7", "3.5", "A cow."]
    assert "captions that are nothing but a number: 2" in probe.data_sheet()
    assert "2 of 3 captions are nothing but a number" in caplog.text


@pytest.mark.parametrize(
    ("header", "message"),
    [
        (
            "image,caption,text",
            "captions.csv line 2 has both 'caption' and 'text'; choose one by probe.caption=caption",
        ),
        ("image,file_name,caption", "has both 'image' and 'file_name'; choose one by probe.image=image"),
        ("image,caption,caption", "has two columns 'caption', split at a comma; rename or remove one"),
        ("a.png,one,two", "captions.csv has no column 'image' or 'file_name'; it has a.png, one, two"),
    ],
)
def test_two_columns_for_one_thing_are_refused(mine: Path, header: str, message: str) -> None:
    write(mine, f"{header}\na.png,one,two\nb.png,three,four\n")
    with pytest.raises(VlmatchError, match=message):
        folder(mine, bad_rows="skip")


def test_a_column_may_be_named_and_two_that_agree_are_one(mine: Path) -> None:
    write(mine, "image,caption,text,what\na.png,one,eins,I\nb.png,two,zwei,II\n")
    assert folder(mine, caption="text").captions == ["eins", "zwei"]
    assert folder(mine, caption="what", label="text").labels == ["eins", "zwei"]
    assert folder(write(mine, "image,caption,text\na.png,one,one\nb.png,,two\n")).captions == ["one", "two"]
    with pytest.raises(VlmatchError, match=r"no column 'words'; it has .* name it by probe\.caption=NAME"):
        folder(mine, caption="words")


def test_a_key_that_json_has_twice_spoils_its_row_only(mine: Path) -> None:
    rows = ['{"image": "a.png", "caption": "one"}', '{"image": "b.png", "caption": "two", "caption": "three"}']
    write(mine, "\n".join([*rows, '{"image": "c.png", "caption": "four"}']), "captions.jsonl")
    assert folder(mine, bad_rows="skip").captions == ["one", "four"]
    with pytest.raises(VlmatchError, match="line 2: its JSON has the key 'caption' twice"):
        folder(mine)


@pytest.mark.parametrize(
    "text",
    [
        "sep=;\r\nimage;caption\r\na.png;one, two\r\nb.png;three\r\n",
        "image;caption;notes, and more\na.png;one, two;\nb.png;three;\n",
        '"image"|"caption"\na.png|one, two\nb.png|three\n',
        "image\tcaption\na.png\tone, two\nb.png\tthree",
        'image,caption,,\na.png,"one, two",,\n,,,\n\nb.png,three,,\n',
        "image;caption\ra.png;one, two\rb.png;three\r",
        " image ; caption \na.png; one, two \n b.png;three",
    ],
)
def test_tables_are_split_where_their_header_says(mine: Path, text: str) -> None:
    assert folder(write(mine, text)).captions == ["one, two", "three"]


@pytest.mark.parametrize(
    "text", ['[\n{"image": "a.png", "caption": "one"},\n{"image": "b.png", "caption": "two"}]', ""]
)
@pytest.mark.parametrize("suffix", ["json", "jsonl"])
def test_json_is_a_list_or_lines_whatever_it_is_called(mine: Path, suffix: str, text: str) -> None:
    rows = '\ufeff\r\n{"image": "a.png", "caption": "one"}\r\n\r\n{"image": "b.png", "caption": "two"}\r\n'
    assert folder(write(mine, text or rows, f"captions.{suffix}")).captions == ["one", "two"]
    cut = (text or rows).rstrip("]\r\n")[:-5]
    write(mine, cut, f"captions.{suffix}")
    if text:
        with pytest.raises(VlmatchError, match=r"captions\.jsonl?: it is not JSON"):
            folder(mine, bad_rows="skip")
    else:
        with pytest.raises(VlmatchError, match=r" line 4.* is not JSON"):
            folder(mine)


def test_a_field_may_be_longer_than_the_csv_modules_limit(mine: Path) -> None:
    long = "word " * 30_000
    write(mine, f'image,caption\na.png,"{long}"\nb.png,two\n')
    assert folder(mine).captions == [long.strip(), "two"]


def test_a_quote_that_is_never_closed_is_named_by_the_last_good_line(mine: Path) -> None:
    write(mine, 'image,caption\na.png,one\nb.png,"two\n' + "c.png,three\n" * 20_000)
    with pytest.raises(VlmatchError, match=r"captions\.csv after line 2 .*a quote that is not closed"):
        folder(mine)


def test_bytes_of_another_encoding_spoil_their_rows_and_its_name_reads_them(mine: Path) -> None:
    text = "image,caption\na.png,A frog.\nb.png,Ein Fr\u00f6schlein.\nc.png,A cow.\n"
    write(mine, text.encode("cp1252"))
    with pytest.raises(VlmatchError, match=r"line 3: its caption holds the byte 0xf6.*encoding=cp1252 .*bad_rows=skip"):
        folder(mine)
    probe = folder(mine, bad_rows="skip")
    assert probe.captions == ["A frog.", "A cow."]
    assert probe.counts.skipped == {"not valid Unicode": 1}
    assert folder(mine, encoding="cp1252").captions[1] == "Ein Fr\u00f6schlein."
    for encoding in ("utf-16", "klingon"):
        with pytest.raises(VlmatchError, match=f"not a CSV in probe.encoding={encoding}"):
            folder(mine, encoding=encoding)
    with pytest.raises(VlmatchError, match=r"captions\.csv: its header holds the byte 0xf6"):
        folder(write(mine, "Fr\u00f6sche,caption\n".encode("cp1252")), bad_rows="skip")


def test_a_repeated_id_is_skipped_and_counted(mine: Path) -> None:
    write(mine, "image,caption,id\na.png,one,1\nb.png,two,1\nc.png,three,\n")
    probe = folder(mine, bad_rows="skip")
    assert [(pair.id, pair.caption) for pair in probe.pairs] == [("1", "one"), ("c.png", "three")]
    assert probe.counts.skipped == {"with a repeated id": 1}
