"""Images in a zip file, in class folders, beside texts, under names of other systems; and what is no file at all."""

import io
import os
import pickle
import unicodedata
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest
from PIL import Image

from vlmatch.errors import VlmatchError
from vlmatch.probes.folder import folder
from vlmatch.probes.hf_dataset import hf_dataset
from vlmatch.probes.images import ImageError, open_image
from vlmatch.probes.llava import llava
from vlmatch.probes.llava_format import read_items
from vlmatch.probes.pairs import ProbeEntry
from vlmatch.probes.parquet import parquet
from vlmatch.probes.places import ZipMember, image_in, image_of, names_in
from vlmatch.probes.reading import Reader
from vlmatch.probes.webdataset import webdataset


@pytest.fixture(autouse=True)
def own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """No test finds another's hashes."""
    monkeypatch.setenv("VLMATCH_CACHE", str(tmp_path / "cache"))


def grey(value: int) -> bytes:
    """A small PNG of one grey."""
    buffer = io.BytesIO()
    Image.new("RGB", (6, 5), (value, value, value)).save(buffer, "PNG")
    return buffer.getvalue()


def zipped(path: Path, members: dict[str, bytes], packing: int = zipfile.ZIP_DEFLATED) -> Path:
    """A zip file with these members."""
    with zipfile.ZipFile(path, "w", packing) as archive:
        for name, content in members.items():
            archive.writestr(name, content)
    return path


PAIRS = {f"{n}.png": grey(n) for n in range(3)}
TABLE = b"image,caption\n0.png,None at all.\n1.png,One.\n2.png,Two.\n"


@pytest.mark.parametrize("top", ["", "my data/"])
def test_a_zip_file_is_read_as_the_folder_it_holds(tmp_path: Path, top: str) -> None:
    members = {f"{top}{name}": content for name, content in {**PAIRS, "captions.csv": TABLE}.items()}
    members |= {f"__MACOSX/{top}._0.png": b"x", f"{top}.DS_Store": b"x"}
    probe = folder(zipped(tmp_path / "x.zip", members))
    assert [pair.id for pair in probe.pairs] == ["0.png", "1.png", "2.png"]
    assert probe.image(2).getpixel((0, 0)) == (2, 2, 2)
    assert pickle.loads(pickle.dumps(probe.pairs[1].image)).read() == grey(1)
    for name, content in {**PAIRS, "captions.csv": TABLE}.items():
        (tmp_path / name).write_bytes(content)
    assert folder(tmp_path).fingerprint == probe.fingerprint


def test_images_of_a_table_may_be_in_a_zip_file_or_folder_elsewhere(tmp_path: Path) -> None:
    (tmp_path / "captions.csv").write_bytes(TABLE)
    archive = zipped(tmp_path / "images.zip", {f"top/{name}": content for name, content in PAIRS.items()})
    (tmp_path / "other").mkdir()
    for name, content in PAIRS.items():
        (tmp_path / "other" / name).write_bytes(content)
    probes = [folder(tmp_path, images=place) for place in (archive, tmp_path / "other")]
    assert probes[0].fingerprint == probes[1].fingerprint
    with pytest.raises(VlmatchError, match=r"0\.png.* can't be read"):
        folder(tmp_path)


@pytest.mark.parametrize("form", ["../secret.png", "{}/secret.png", "in/../../secret.png", "..\\secret.png"])
def test_paths_in_a_table_stay_in_their_folder_unless_that_is_allowed(tmp_path: Path, form: str) -> None:
    mine = tmp_path / "mine"
    (mine / "in").mkdir(parents=True)
    (tmp_path / "secret.png").write_bytes(grey(9))
    (mine / "0.png").write_bytes(grey(0))
    (mine / "captions.csv").write_text(f"image,caption\n0.png,A cat.\n{form.format(tmp_path)},A secret.\n")
    said = (
        r"line 3: image '.*secret\.png' lies outside of probe\.images=.*, which only probe\.images_outside=true allows"
    )
    with pytest.raises(VlmatchError, match=said):
        folder(mine)
    assert folder(mine, images_outside=True).captions == ["A cat.", "A secret."]


def test_an_absolute_path_or_dots_may_lead_into_the_folder(tmp_path: Path) -> None:
    table = "image,caption\n" + f"{tmp_path}/0.png,A cat.\nnowhere/../1.png,A dog.\n"
    for name, content in {**PAIRS, "captions.csv": table.encode()}.items():
        (tmp_path / name).write_bytes(content)
    for outside in (False, True):
        assert folder(tmp_path, images_outside=outside).captions == ["A cat.", "A dog."]


def test_images_of_a_json_may_be_in_a_zip_file(tmp_path: Path) -> None:
    archive = zipped(tmp_path / "images.zip", {f"top/00/{name}": content for name, content in PAIRS.items()})
    for name in ("00/1.png", "00\\1.png", "./00/1.png", "top/00/1.png"):
        image = image_of(archive, name, "probe.images")
        assert isinstance(image, ZipMember)
        assert image.read() == grey(1)
    with pytest.raises(ImageError, match=r"image '00/9\.png in .*images\.zip' is not there"):
        open_image(image_of(archive, "00/9.png", "probe.images"))


def test_a_zip_file_that_would_fill_the_memory_is_cut_or_locked_is_refused(tmp_path: Path) -> None:
    bomb = zipped(tmp_path / "x.zip", {"0.png": bytes(30_000_000), "../1.png": grey(1), "2.png": grey(2)})
    with pytest.raises(ImageError, match="bytes that unpack to 30,000,000"):
        open_image(ZipMember(bomb, "0.png"))
    assert open_image(ZipMember(bomb, "../1.png")).size == (6, 5)  # a name is only looked up, and never a path
    content = bytearray(zipped(tmp_path / "y.zip", {"0.png": grey(0)}, zipfile.ZIP_STORED).read_bytes())
    content[60] ^= 255
    (tmp_path / "y.zip").write_bytes(content)
    with pytest.raises(ImageError, match=r"0\.png in .*y\.zip' can't be read \(Bad CRC-32"):
        open_image(ZipMember(tmp_path / "y.zip", "0.png"))
    content[6] |= 1  # encrypted
    content[content.index(b"PK\x01\x02") + 8] |= 1
    (tmp_path / "y.zip").write_bytes(content)
    with pytest.raises(ImageError, match="encrypted"):
        open_image(ZipMember(tmp_path / "y.zip", "0.png"))
    (tmp_path / "y.zip").write_bytes(content[:80])
    with pytest.raises(VlmatchError, match=r"y\.zip' can't be read as a zip file"):
        folder(tmp_path / "y.zip")


def test_drawings_in_a_zip_file_are_rendered_as_files_are(tmp_path: Path) -> None:
    drawing = b'<svg xmlns="http://www.w3.org/2000/svg" width="9" height="9"><circle r="4" fill="#f00"/></svg>'
    (tmp_path / "x.svg").write_bytes(drawing)
    archive = zipped(tmp_path / "x.zip", {"x.svg": drawing, "y.svg": b"<svg"})
    assert open_image(ZipMember(archive, "x.svg")) == open_image(tmp_path / "x.svg")
    with pytest.raises(ImageError, match=r"image 'y\.svg in .*x\.zip' can't be rendered \(unclosed token"):
        open_image(ZipMember(archive, "y.svg"))


def classes(place: Path, *names: str) -> Path:
    """A folder with images of these names."""
    for number, name in enumerate(names):
        (place / name).parent.mkdir(parents=True, exist_ok=True)
        (place / name).write_bytes(grey(number))
    return place


def test_class_folders_give_labels_and_captions(tmp_path: Path) -> None:
    place = classes(
        tmp_path / "p", "golden_retriever/1.png", "cats/tabby/1.JPG", "cats/tabby/2.png", "top.png", ".x/1.png"
    )
    (place / "empty").mkdir()
    probe = folder(place, drop_duplicates=False)
    assert [(pair.id, pair.caption, pair.label) for pair in probe.pairs] == [
        ("cats/tabby/1.JPG", "a photo of a tabby", "tabby"),
        ("cats/tabby/2.png", "a photo of a tabby", "tabby"),
        ("golden_retriever/1.png", "a photo of a golden retriever", "golden_retriever"),
    ]
    assert probe.counts.skipped == {"outside of the class folders": 1}
    assert "captions from 2 class folders: 'a photo of a {label}'" in "\n".join(probe.data_sheet())
    assert folder(place, class_caption="{label}").captions == ["tabby", "golden retriever"]
    archive = zipped(tmp_path / "x.zip", {f"p/{name}": (place / name).read_bytes() for name in names_in(place)})
    assert folder(archive).captions == ["a photo of a tabby", "a photo of a golden retriever"]
    with pytest.raises(VlmatchError, match=r"probe\.class_caption='a photo' lacks '\{label\}'"):
        folder(place, class_caption="a photo")


def test_tables_further_down_are_named_and_their_folders_are_no_classes(tmp_path: Path) -> None:
    """As Hugging Face's image folders have them, one table for each split."""
    place = classes(tmp_path, "train/1.png", "train/2.png", "test/3.png", "test/4.png")
    for split, names in (("train", "12"), ("test", "34")):
        rows = [f'{{"file_name": "{name}.png", "text": "a {name}"}}' for name in names]
        (place / split / "metadata.jsonl").write_text("\n".join(rows))
    with pytest.raises(VlmatchError, match=r"not at its top \(test/metadata\.jsonl, train/metadata\.jsonl\)") as caught:
        folder(place)
    advice = str(caught.value).partition("such as probe.path=")[2].partition(",")[0]
    assert folder(advice).captions == ["a 3", "a 4"]


def test_splits_are_no_classes_unless_another_folder_is_one(tmp_path: Path) -> None:
    with pytest.raises(VlmatchError, match=r"class folder 'train2017' in .* is a split of the data, not a word"):
        folder(classes(tmp_path / "coco", "train2017/1.png", "val2017/2.png"))
    assert folder(classes(tmp_path / "toys", "train/1.png", "bus/2.png")).captions == [
        "a photo of a bus", "a photo of a train",
    ]  # fmt: skip


def test_a_caption_beside_an_image_is_read_as_a_txt_is(tmp_path: Path) -> None:
    place = classes(tmp_path, "10_dog/1.png", "5_cat/2.png", "5_cat/3.png")
    for name in ("10_dog/1", "5_cat/2", "5_cat/3"):
        (place / f"{name}.caption").write_text(f"a caption of {name}")
    (place / "5_cat" / "3.txt").write_text("its txt")
    assert folder(place).captions == ["a caption of 10_dog/1", "a caption of 5_cat/2", "its txt"]


@pytest.mark.parametrize("label", ["n01440764", "7"])
def test_class_folders_named_by_codes_are_refused(tmp_path: Path, label: str) -> None:
    with pytest.raises(VlmatchError, match=f"class folder '{label}' in .* is a code"):
        folder(classes(tmp_path, "cat/1.png", f"{label}/1.png"))


@pytest.mark.parametrize("names", [(), ("1.png",), ("only/1.png", "only/2.png")])
def test_a_folder_without_a_table_texts_or_classes_is_refused(tmp_path: Path, names: tuple[str, ...]) -> None:
    with pytest.raises(VlmatchError, match=r"no captions\.csv, .*a \.txt beside each image, or several folders"):
        folder(classes(tmp_path, *names))


def test_texts_beside_images_are_captions(tmp_path: Path) -> None:
    place = classes(tmp_path, "a/1.png", "a/2.png", "b.v2.png", "c.png", "d.png")
    for name, text in {
        "a/1": b"One.",
        "a/2": "Zwei.".encode("utf-16"),
        "b.v2": b" Three.\n",
        "c": b"Fr\xf6sche",
    }.items():
        (place / f"{name}.txt").write_bytes(text)
    with pytest.raises(VlmatchError, match=r"c\.png: 'c\.txt' holds the byte 0xf6, which is not UTF-8"):
        folder(place)
    probe = folder(place, bad_rows="skip")
    assert [(pair.caption, pair.label) for pair in probe.pairs] == [("One.", "a"), ("Zwei.", "a"), ("Three.", None)]
    assert probe.counts.skipped == {"not valid Unicode": 1, "without a caption": 1}


def test_a_table_called_metadata_is_found(tmp_path: Path) -> None:
    classes(tmp_path, "a.png", "b.png")
    (tmp_path / "metadata.jsonl").write_text(
        '{"file_name": "a.png", "text": "A."}\n{"file_name": "b.png", "text": "B."}'
    )
    assert folder(tmp_path).captions == ["A.", "B."]


@pytest.mark.parametrize("written", ["NFC", "NFD"])
@pytest.mark.parametrize("named", ["NFC", "NFD"])
@pytest.mark.parametrize("packed", [False, True])
def test_names_are_found_however_their_accents_are_composed(
    tmp_path: Path, written: str, named: str, packed: bool
) -> None:
    name = "caf\u00e9/\u00fcber.png"
    place = classes(tmp_path / "p", unicodedata.normalize(written, name))
    if packed:
        place = zipped(tmp_path / "x.zip", {unicodedata.normalize(written, name): grey(0)})
    assert open_image(image_in(place, unicodedata.normalize(named, name))).size == (6, 5)
    assert open_image(image_in(place, unicodedata.normalize(named, name.replace("/", "\\")))).size == (6, 5)


def test_pipes_and_devices_are_refused_before_they_are_read(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.png")
    for path in (tmp_path / "pipe.png", Path("/dev/zero")):
        with pytest.raises(ImageError, match="it is a pipe, socket or device"):
            open_image(path)
        (read,) = Reader("p", decode=False, max_pixels=100).read([ProbeEntry("1", path, "x")])
        assert read.problem is not None
        assert "it is a pipe, socket or device" in read.problem.problem
        with pytest.raises(VlmatchError, match="it is a pipe, socket or device"):
            read_items(path, "probe.path")
        with pytest.raises(VlmatchError, match="is not there, or not a file"):
            folder(path)
    os.mkfifo(tmp_path / "pipe.txt")
    with pytest.raises(VlmatchError, match=r"'pipe\.txt' can't be read .*it is a pipe"):
        folder(tmp_path)


@pytest.mark.parametrize("read", [folder, llava, webdataset, parquet, hf_dataset])
@pytest.mark.parametrize("name", ["x" * 300, "\u00e9" * 300, "a\0b"])
def test_a_path_that_no_file_can_have_is_one_line(tmp_path: Path, read: Callable[..., object], name: str) -> None:
    with pytest.raises(VlmatchError, match=r"probe\.path=") as caught:
        read(f"{tmp_path}/{name}")
    assert "\n" not in str(caught.value)


def test_an_image_whose_name_no_file_can_have_spoils_its_row_only(tmp_path: Path) -> None:
    classes(tmp_path, "a.png", "b.png")
    rows = [
        "a.png,A.",
        "https://host/1.png,H.",
        f"{'x' * 300}.png,X.",
        f"{'é' * 300}.png,Y.",
        "nul\0.png,Z.",
        "b.png,B.",
        "../gone.png,G.",
    ]
    (tmp_path / "captions.csv").write_text("\n".join(["image,caption", *rows]))
    probe = folder(tmp_path, bad_rows="skip")
    assert probe.captions == ["A.", "B."]
    assert sum(probe.counts.skipped.values()) == 5
