"""Rendered objects: pictures, names, categories and creators out of the catalogues of one package."""

import hashlib
import io
import zipfile
from collections.abc import Callable, Mapping
from pathlib import Path

import pytest
from PIL import Image

from vlmatch import paths
from vlmatch.errors import NotHereError, VlmatchError
from vlmatch.packages.deb import Archive
from vlmatch.probes.fetch import fetch_folder
from vlmatch.probes.verify import dvc_checksum
from vlmatch_study.split.sweet_home import OBJECTS, SweetHome, properties

MakeDeb = Callable[..., Path]
ROOT = "./usr/share/sweethome3d/furniture/"
TABLE = r"""# A catalogue
id=SweetHome3D#Made
license=Creative Commons  Attribution 3.0

id#1=Made#chair
name#1=Chaise \u00e9lue 2
tags#1=Seat, \
  Wood
category#1=Living room
icon#1=/made/chair.png
creator#1=Ann

id#2=Made#box
name#2=Boxes
category#2=Miscellaneous
icon#2=/made/box.png
"""


def png(shade: int) -> bytes:
    buffer = io.BytesIO()
    Image.new("RGBA", (8, 8), (shade, 0, 0, 128)).save(buffer, "PNG")
    return buffer.getvalue()


def catalogue(table: str = TABLE, **members: bytes) -> bytes:
    """An .sh3f file; `members` replace those of the same name, where '/' is written '__' and '.' is written '_'."""
    files: Mapping[str, bytes] = {
        "PluginFurnitureCatalog.properties": table.encode("latin-1"),
        "PluginFurnitureCatalog_fr.properties": b"name#1=chaise",
        "LICENSE.TXT": b"CC BY",
        "made/chair.png": png(10),
        "made/box.png": png(20),
        "made/chair/wood.png": b"a texture",
        "made/chair/chair.obj": b"a model",
    }
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for name, content in {**files, **members}.items():
            archive.writestr(name, content)
    return buffer.getvalue()


@pytest.fixture
def source(tmp_path: Path, make_deb: MakeDeb) -> Callable[..., SweetHome]:
    """A function that makes a source whose package holds one catalogue, not fetched yet."""

    def make(content: bytes, folder: str = "furniture") -> SweetHome:
        deb = make_deb(
            {f"{ROOT}Made.sh3f": content, "./usr/share/doc/sweethome3d-furniture/copyright": b"terms"}, name="objects"
        )
        archive = Archive("objects", "1.0", hashlib.sha256(deb.read_bytes()).hexdigest(), str(deb))
        return SweetHome(str(tmp_path / "sources" / folder), archive, "task=fetch probe=furniture")

    return make


def fetch(source: SweetHome) -> SweetHome:
    assert fetch_folder(Path(source.path), source.fill)
    return source


def test_each_object_is_a_picture_with_its_name_category_and_creator(source: Callable[..., SweetHome]) -> None:
    fetched = fetch(source(catalogue()))
    folder = Path(fetched.path)
    files = sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file())
    assert files == ["Made/LICENSE.TXT", "Made/box.png", "Made/chair.png", "copyright", OBJECTS]
    assert (folder / OBJECTS).read_text(encoding="utf-8").splitlines() == [
        "image,name,category,tags,creator,licence",
        "Made/box.png,Boxes,Miscellaneous,,,Creative Commons Attribution 3.0",
        'Made/chair.png,Chaise élue 2,Living room,"Seat, Wood",Ann,Creative Commons Attribution 3.0',
    ]
    found = [(each.id, each.caption, each.category) for each in fetched.candidates()]
    assert found == [("Made/box", "boxes", None), ("Made/chair", "chaise élue", "living room")]
    assert all(each.image.is_file() for each in fetched.candidates())


def test_fetching_twice_gives_the_same_bytes(source: Callable[..., SweetHome]) -> None:
    first = dvc_checksum(Path(fetch(source(catalogue())).path))
    assert dvc_checksum(Path(fetch(source(catalogue(), "again")).path)) == first


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (catalogue(**{"../evil.png": b""}), r"'Made\.sh3f': member '\.\./evil\.png' would be written outside"),
        (catalogue(**{"made/huge.png": b"0" * 5_000_001}), r"'made/huge\.png' has 5000001 bytes"),
        (catalogue(TABLE.replace("made/box", "made/lost")), r"'Made\.sh3f' holds no 'made/lost\.png'; fetch it again"),
        (catalogue(TABLE.replace("name#2", "nom#2")), r"'Made\.sh3f' holds no 'name#2'"),
        (b"no zip", r"archive 'Made\.sh3f' is damaged"),
    ],
)
def test_hostile_and_damaged_catalogues_are_one_line(
    source: Callable[..., SweetHome], content: bytes, message: str
) -> None:
    made = source(content)
    with pytest.raises(VlmatchError, match=message):
        fetch(made)
    assert not Path(made.path).exists()


def test_what_is_not_fetched_or_damaged_names_the_command(source: Callable[..., SweetHome]) -> None:
    made = source(catalogue())
    with pytest.raises(NotHereError, match="task=fetch probe=furniture"):
        made.candidates()
    (Path(fetch(made).path) / OBJECTS).write_text("image,name\nx.png\n")
    with pytest.raises(VlmatchError, match="is damaged; delete"):
        made.candidates()


def test_a_properties_file_is_read_as_java_does() -> None:
    text = "! comment\n a = b=c \nlong = one,\\\n   two\nescaped\\:x=\\u0041\\\\n\n\nbare\n"
    assert properties(text) == {"a": "b=c ", "long": "one,two", "escaped:x": "A\\n"}


@pytest.mark.slow
def test_the_committed_credits_are_those_of_the_package() -> None:
    sources = paths.root() / "study" / "sources"
    fetched = sources / "furniture" / OBJECTS
    if not fetched.is_file():
        pytest.skip("not fetched here (task=fetch probe=furniture)")
    assert fetched.read_bytes() == (sources / "furniture_credits.csv").read_bytes()
