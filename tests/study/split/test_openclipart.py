"""The clip-art: pictures and metadata out of two packages, and captions out of titles or file names."""

import hashlib
import io
import json
from collections.abc import Callable
from pathlib import Path

import pytest
from PIL import Image

from vlmatch.errors import NotHereError, VlmatchError
from vlmatch.packages.deb import Archive
from vlmatch.probes.fetch import fetch_folder
from vlmatch.probes.verify import dvc_checksum
from vlmatch_study.split import openclipart
from vlmatch_study.split.openclipart import OpenClipart

MakeDeb = Callable[..., Path]
ROOT = "./usr/share/openclipart/"


def drawing(title: str, *keywords: str) -> bytes:
    """An SVG with a description of the work, and a title of its author that is not the work's."""
    items = "".join(f"<rdf:li>{keyword}</rdf:li>" for keyword in keywords)
    return (
        '<svg xmlns="http://www.w3.org/2000/svg"><metadata>'
        '<rdf:RDF xmlns:cc="http://web.resource.org/cc/" xmlns:dc="http://purl.org/dc/elements/1.1/" '
        'xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#"><cc:Work>'
        f"<dc:creator><cc:Agent><dc:title>Somebody</dc:title></cc:Agent></dc:creator><dc:title> {title}\n</dc:title>"
        f"<dc:subject><rdf:Bag>{items}</rdf:Bag></dc:subject></cc:Work></rdf:RDF></metadata></svg>"
    ).encode()


def png(width: int, height: int) -> bytes:
    buffer = io.BytesIO()
    Image.new("L", (width, height), 99).save(buffer, "PNG")
    return buffer.getvalue()


def archive(deb: Path) -> Archive:
    return Archive(deb.stem, "1.0", hashlib.sha256(deb.read_bytes()).hexdigest(), str(deb))


@pytest.fixture
def clipart(tmp_path: Path, make_deb: MakeDeb) -> OpenClipart:
    """Two small packages, not fetched yet."""
    bomb = b'<!DOCTYPE s [<!ENTITY a "aaaa">]>' + drawing("&a;")
    pictures = {
        "animals/frog_01": drawing("Frog (green) 01", "frog", "green"),
        "food/egg_bw": drawing("R16 series"),
        "food/red_apple_2": drawing("R16 series"),
        "food/plum": drawing("R16 series"),
        "people/clothing/hats/top_hat": drawing("Clipart by Some One - tall_hat"),
        "computer/bomb": bomb,
        "computer/broken": b"<svg",
        "computer/12": drawing(""),
        "unsorted/no_drawing": b"",
        "shapes/star": drawing("star"),
        "signs_and_symbols/flags/big": drawing("big"),
    }
    sizes = {"signs_and_symbols/flags/big": (2000, 1001)}
    pngs = {f"{ROOT}png/{name}.png": png(*sizes.get(name, (4, 3))) for name in pictures}
    copyright_file = {"./usr/share/doc/openclipart-png/copyright": b"public domain"}
    svgs = {f"{ROOT}svg/{name}.svg": content for name, content in pictures.items() if content}
    return OpenClipart(
        str(tmp_path / "sources/openclipart"),
        archive(make_deb({**pngs, **copyright_file}, name="pngs")),
        archive(make_deb({**svgs, **copyright_file}, name="svgs")),
    )


def fetch(source: OpenClipart) -> OpenClipart:
    assert fetch_folder(Path(source.path), source.fill)
    return source


def test_pictures_are_kept_with_one_line_of_metadata_each(clipart: OpenClipart) -> None:
    folder = Path(fetch(clipart).path)
    rows = [json.loads(line) for line in (folder / "metadata.jsonl").read_text().splitlines()]
    assert {row["image"] for row in rows} == {p.relative_to(folder).as_posix() for p in folder.rglob("*.png")}
    frog = next(row for row in rows if row["image"] == "animals/frog_01.png")
    assert frog == {
        "image": "animals/frog_01.png",
        "title": "Frog (green) 01",
        "description": "",
        "keywords": ["frog", "green"],
    }
    assert (folder / "copyright").read_text() == "public domain"


def test_plain_shapes_and_huge_pictures_are_left_out(clipart: OpenClipart) -> None:
    folder = Path(fetch(clipart).path)
    assert not (folder / "shapes").exists()
    assert not (folder / "signs_and_symbols").exists()


def test_broken_xml_and_entities_give_no_title(clipart: OpenClipart) -> None:
    rows = (Path(fetch(clipart).path) / "metadata.jsonl").read_text().splitlines()
    titles = {row["image"]: row["title"] for row in map(json.loads, rows)}
    untitled = {name for name, title in titles.items() if title is None}
    assert untitled == {"computer/bomb.png", "computer/broken.png", "unsorted/no_drawing.png"}


def test_fetching_twice_gives_the_same_bytes(clipart: OpenClipart, tmp_path: Path) -> None:
    first = dvc_checksum(Path(fetch(clipart).path))
    again = OpenClipart(str(tmp_path / "again"), clipart.png, clipart.svg)
    assert dvc_checksum(Path(fetch(again).path)) == first


def test_a_title_is_the_caption_unless_it_is_a_whole_collections(clipart: OpenClipart) -> None:
    found = {candidate.id: (candidate.caption, candidate.guess) for candidate in fetch(clipart).candidates()}
    assert found == {
        "animals/frog_01": ("frog green", False),
        "food/egg_bw": ("egg bw", True),
        "food/red_apple_2": ("red apple", True),
        "food/plum": ("plum", True),
        "people/clothing/hats/top_hat": ("tall hat", False),
        "computer/bomb": ("bomb", True),
        "computer/broken": ("broken", True),
        "computer/12": ("", True),
        "unsorted/no_drawing": ("no drawing", True),
    }


def test_the_category_is_that_of_the_innermost_known_folder(clipart: OpenClipart) -> None:
    found = {candidate.id: candidate.category for candidate in fetch(clipart).candidates()}
    assert found["people/clothing/hats/top_hat"] == "clothing"
    assert found["food/plum"] == "food"
    assert found["unsorted/no_drawing"] is None


def test_what_is_not_fetched_names_the_command(clipart: OpenClipart) -> None:
    with pytest.raises(NotHereError, match=r"task=fetch task\.what=split"):
        clipart.candidates()


def test_damaged_metadata_are_refused(clipart: OpenClipart) -> None:
    (Path(fetch(clipart).path) / openclipart._METADATA).write_text('{"image"')
    with pytest.raises(VlmatchError, match="is damaged"):
        clipart.candidates()


def test_a_package_that_is_not_there_names_its_key(clipart: OpenClipart) -> None:
    Path(clipart.svg.deb or "").unlink()
    with pytest.raises(NotHereError, match=r"split\.sources\.openclipart\.svg\.deb=.*svgs\.deb does not exist"):
        fetch(clipart)
    assert not Path(clipart.path).exists()
