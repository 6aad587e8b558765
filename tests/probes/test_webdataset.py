"""Tar shards are read in place: patterns, captions, offsets, and members of strangers that do no harm."""

import json
import pickle
import tarfile
from pathlib import Path

import pytest

from made_shards import encoded, write
from vlmatch.errors import VlmatchError
from vlmatch.probes.images import ImageError
from vlmatch.probes.webdataset import TarMember, webdataset


@pytest.fixture(autouse=True)
def own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """No test finds another's hashes."""
    monkeypatch.setenv("VLMATCH_CACHE", str(tmp_path / "cache"))


def test_captions_from_json_and_every_kind_of_image(tmp_path: Path) -> None:
    members = {
        "a.jpg": encoded(1, "JPEG"),
        "a.json": json.dumps({"caption": " Eins. ", "url": "x"}).encode(),
        "b.WEBP": encoded(2, "WEBP"),
        "b.json": '\ufeff{"text": "Zwei, süß."}'.encode(),
        "c.png": encoded(3),
        "c.json": b'{"caption": "not this"}',
        "c.txt": "Drei.".encode("utf-8-sig"),
        "deep/d.jpeg": encoded(4, "JPEG"),
        "deep/d.txt": b"Vier.",
    }
    probe = webdataset(str(write(tmp_path / "x.tar", members)))
    assert [(pair.id, pair.caption) for pair in probe.pairs] == [
        ("x/a", "Eins."),
        ("x/b", "Zwei, süß."),
        ("x/c", "Drei."),
        ("x/deep/d", "Vier."),
    ]


def test_shards_of_one_name_in_several_folders_have_ids_of_their_own(tmp_path: Path) -> None:
    for number, place in enumerate("ab"):
        (tmp_path / place).mkdir()
        write(tmp_path / place / "00000.tar", {"k.png": encoded(number), "k.txt": f"{number}.".encode()})
    probe = webdataset(str(tmp_path / "{a,b}" / "00000.tar"))
    assert [pair.id for pair in probe.pairs] == ["a/00000/k", "b/00000/k"]


class Marks:
    """Leaves a file behind when it is unpickled."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[object, tuple[str]]:
        return (Path.touch, (self.path,))  # type: ignore[return-value]


def test_other_members_are_counted_and_never_opened(shards: Path) -> None:
    harmful = pickle.dumps(Marks(shards / "unpickled"))
    members = {"k.png": encoded(1), "k.txt": b"One.", "l.png": encoded(2), "l.txt": b"Two.", "k.seg.png": encoded(3)}
    members |= {f"k.{kind}": harmful for kind in ("pyd", "pickle", "pkl", "pth", "npy", "cls")}
    links = [tarfile.TarInfo("m.png"), tarfile.TarInfo("n.png"), tarfile.TarInfo("folder")]
    links[0].type, links[0].linkname = tarfile.SYMTYPE, "/etc/passwd"
    links[1].type, links[1].linkname = tarfile.LNKTYPE, "k.png"
    links[2].type = tarfile.DIRTYPE
    probe = webdataset(str(write(shards / "x.tar", members, links)))
    assert probe.captions == ["One.", "Two."]
    assert probe.counts.skipped == {"other members": 9}
    assert not (shards / "unpickled").exists()
    assert "skipped: 9 other members" in probe.data_sheet()[0]


def test_names_that_lead_out_of_a_folder_are_only_ids(tmp_path: Path) -> None:
    inside = tmp_path / "a" / "b"
    inside.mkdir(parents=True)
    members = {
        "../../evil.png": encoded(1),
        "../../evil.txt": b"Evil.",
        "/etc/x.png": encoded(2),
        "/etc/x.txt": b"Absolute.",
    }
    before = sorted(tmp_path.rglob("*"))
    shard = write(inside / "x.tar", members)
    probe = webdataset(str(shard))
    assert [pair.id for pair in probe.pairs] == ["x/../../evil", "x//etc/x"]
    assert probe.image(0).size == (6, 5)
    assert sorted(tmp_path.rglob("*")) == sorted([*before, shard])


def test_keys_without_an_image_are_counted_and_without_a_caption_refused_or_counted(tmp_path: Path) -> None:
    members = {"a.png": encoded(1), "a.txt": b"One.", "b.txt": b"No image.", "c.png": encoded(2), "c.txt": b"Two."}
    assert webdataset(str(write(tmp_path / "x.tar", members))).counts.skipped == {"without an image": 1}
    for more in ({"d.png": encoded(3)}, {"d.png": encoded(3), "d.json": b"[]"}, {"d.png": encoded(3), "d.txt": b" \n"}):
        write(tmp_path / "x.tar", members | more)
        with pytest.raises(VlmatchError, match="the caption of 'x/d' is empty"):
            webdataset(str(tmp_path / "x.tar"))
        probe = webdataset(str(tmp_path / "x.tar"), bad_rows="skip")
        assert probe.counts.skipped == {"without an image": 1, "without a caption": 1}


@pytest.mark.parametrize(
    ("members", "message"),
    [
        ({"a.png": b"1", "a.jpg": b"2"}, "key 'a' also has a.jpg"),
        ({"a.txt": b"1", "a.TXT": b"2"}, "key 'a' also has a.TXT"),
        ({"a.png": b"1", "a.txt": b"Fr\xf6sche"}, r"a\.txt can't be read .*save it as UTF-8 txt"),
        ({"a.png": b"1", "a.json": b"{"}, r"a\.json can't be read"),
        (
            {"a.png": b"1", "a.txt": bytes(1_000_001)},
            r"a\.txt has 1,000,001 bytes; .* at most 1,000,000",
        ),
    ],
)
def test_a_bad_member_is_named(tmp_path: Path, members: dict[str, bytes], message: str) -> None:
    with pytest.raises(VlmatchError, match=message):
        webdataset(str(write(tmp_path / "x.tar", members)))


def test_a_bad_text_is_skipped_and_counted_if_asked(tmp_path: Path) -> None:
    members = {"a.png": encoded(1), "a.txt": b"One.", "b.png": encoded(2), "b.txt": b"Two."}
    members |= {"c.png": encoded(3), "c.json": b"{oops", "d.png": encoded(4), "d.txt": b"Fr\xf6sche"}
    members |= {"e.png": encoded(5), "e.txt": bytes(1_000_001)}
    members |= {"f.png": encoded(6), "f.json": b'{"caption": {"en": "Six."}}'}
    probe = webdataset(str(write(tmp_path / "x.tar", members)), bad_rows="skip")
    assert probe.captions == ["One.", "Two."]
    assert probe.counts.skipped == {
        "with a broken json": 1,
        "with a broken txt": 1,
        "with too long a text": 1,
        "with a caption that is not text": 1,
    }


def test_an_empty_txt_leaves_the_word_to_the_json(tmp_path: Path) -> None:
    members = {f"{n}.png": encoded(n) for n in range(3)} | {f"{n}.txt": b" \n" for n in range(2)}
    members |= {f"{n}.json": json.dumps({"caption": [f"Shape {n}.", "More."]}).encode() for n in range(3)}
    probe = webdataset(str(write(tmp_path / "x.tar", members)))
    assert probe.captions == ["Shape 0.", "Shape 1.", "Shape 2."]
    assert probe.counts.several_captions == 3


def test_broken_images_are_named_or_skipped(tmp_path: Path) -> None:
    members = {"a.png": encoded(1), "a.txt": b"One.", "b.png": encoded(2), "b.txt": b"Two."}
    members |= {"c.png": encoded(3)[:-30], "c.txt": b"Cut."}
    shard = str(write(tmp_path / "x.tar", members))
    with pytest.raises(ImageError, match=r"image 'c\.png in .*x\.tar' can't be decoded"):
        webdataset(shard).image(2)
    probe = webdataset(shard, bad_rows="skip")
    assert probe.captions == ["One.", "Two."]
    assert probe.counts.skipped == {"can't be decoded": 1}


def test_a_member_can_be_sent_to_another_process_and_knows_its_bounds(shards: Path) -> None:
    member = webdataset(str(shards / "shard-0000.tar")).pairs[0].image
    assert isinstance(member, TarMember)
    assert pickle.loads(pickle.dumps(member)).read() == encoded(0)
    assert member.name == "0000.png"
    with pytest.raises(ImageError, match="is cut off") as caught:
        TarMember(member.shard, member.name, member.offset, 10**6).read()
    assert caught.value.reason == "can't be read"
    with pytest.raises(ImageError, match=r"is too large \(1,000,000,000,000 bytes"):
        TarMember(member.shard, member.name, member.offset, 10**12).read()


def test_keys_may_have_dots(tmp_path: Path) -> None:
    members = {"a.b/photo.v2.png": encoded(1), "a.b/photo.v2.txt": b"One.", "img_0.5.png": encoded(2)}
    members |= {"img_0.5.json": b'{"caption": "Two."}', "img_0.6.jpg": encoded(3, "JPEG"), "img_0.6.TXT": b"Three."}
    members |= {"k.png": encoded(4), "k.txt": b"Four.", "k.seg.png": encoded(5), "._k.txt": b"x", ".png": b"x"}
    probe = webdataset(str(write(tmp_path / "x.tar", members)))
    assert [(pair.id, pair.caption) for pair in probe.pairs] == [
        ("x/a.b/photo.v2", "One."),
        ("x/img_0.5", "Two."),
        ("x/img_0.6", "Three."),
        ("x/k", "Four."),
    ]
    assert probe.counts.skipped == {"other members": 3}


def test_captions_that_differ_are_counted_as_several(tmp_path: Path) -> None:
    members = {f"{n}.png": encoded(n) for n in range(4)}
    members |= {"0.txt": b"One.", "0.json": b'{"caption": "One.", "text": null}'}
    members |= {"1.txt": b"Two.", "1.json": b'{"caption": "Zwei."}'}
    members |= {"2.json": b'{"caption": "Three.", "text": "Drei."}'}
    members |= {"3.txt": b"Four.", "3.json": b"{broken"}
    probe = webdataset(str(write(tmp_path / "x.tar", members)))
    assert probe.captions == ["One.", "Two.", "Three.", "Four."]
    assert probe.counts.several_captions == 2


@pytest.mark.parametrize(
    "content", [b'{"caption": 7}', b'{"caption": "a", "caption": "b"}', b'{"caption": NaN}', b"\xff"]
)
def test_a_caption_that_is_none_is_skipped_and_counted(tmp_path: Path, content: bytes) -> None:
    members = {f"{n}.png": encoded(n) for n in range(3)} | {"0.txt": b"One.", "1.txt": b"Two.", "2.json": content}
    shard = str(write(tmp_path / "x.tar", members))
    with pytest.raises(VlmatchError, match=r"probe\.bad_rows=skip"):
        webdataset(shard)
    probe = webdataset(shard, bad_rows="skip")
    assert probe.captions == ["One.", "Two."]
    assert sum(probe.counts.skipped.values()) == 1


def test_a_repeated_key_and_a_broken_name_spoil_their_pairs_only(tmp_path: Path) -> None:
    members = {"0.png": encoded(0), "0.txt": b"One.", "1.png": encoded(1), "1.jpg": encoded(1), "1.txt": b"x"}
    members |= {"2.png": encoded(2), "2.txt": b"Three.", "fr\udcf6g.png": encoded(3), "fr\udcf6g.txt": b"Frog."}
    probe = webdataset(str(write(tmp_path / "x.tar", members)), bad_rows="skip")
    assert probe.captions == ["One.", "Three."]
    assert probe.counts.skipped == {"with a repeated key": 1, "not valid Unicode": 1}
