"""Emoji: out of an npm archive come the images without variants by skin tone, with names and code points."""

import io
import json
import tarfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from vlmatch.errors import NotHereError, VlmatchError
from vlmatch.probes.fetch import fetch_folder
from vlmatch_study.split import emoji as emoji_module
from vlmatch_study.split.emoji import GoogleEmoji, OpenMoji, code_point

PACKAGE = {"name": "some-emoji", "version": "1.0.0", "sha256": "0" * 64}
Archived = Callable[[dict[str, bytes]], None]


@pytest.fixture
def archived(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Archived:
    """Makes the registry give an archive of these files."""

    def offer(files: dict[str, bytes]) -> None:
        archive = tmp_path / "offered.tgz"
        with tarfile.open(archive, "w:gz") as tar:
            for name, content in files.items():
                info = tarfile.TarInfo(f"package/{name}")
                info.size = len(content)
                tar.addfile(info, io.BytesIO(content))
        monkeypatch.setattr(emoji_module, "npm_tarball", lambda name, version, sha256, folder: archive)

    return offer


def google(unified: str, name: str, short: str, **changes: Any) -> dict[str, Any]:
    row = {
        "unified": unified,
        "name": name,
        "short_name": short,
        "short_names": [short],
        "image": f"{unified.lower()}.png",
        "category": "Animals & Nature",
        "subcategory": "animal-mammal",
        "has_img_google": True,
    }
    return {**row, **changes}


def openmoji(hexcode: str, annotation: str, **changes: Any) -> dict[str, Any]:
    row = {
        "hexcode": hexcode,
        "annotation": annotation,
        "group": "people-body",
        "subgroups": "person",
        "tags": "one, two",
        "openmoji_tags": "three",
        "skintone": "",
    }
    return {**row, **changes}


@pytest.fixture
def googles(tmp_path: Path, archived: Archived) -> GoogleEmoji:
    """Google's emoji as fetched from a small archive."""
    rows = [
        google("1F431", "CAT FACE", "cat"),
        google("2764-FE0F", "HEAVY BLACK HEART", "heart", category="Smileys & Emotion", subcategory="heart"),
        google("1F408-200D-2B1B", "BLACK CAT", "black_cat"),
        google("1F3FB", "EMOJI MODIFIER", "skin-tone-2", category="Component", subcategory="skin-tone"),
        google("1F999", "NOT DRAWN", "llama", has_img_google=False),
    ]
    images = {f"img/google/64/{row['image']}": row["name"].encode() for row in rows}
    extra = {"img/google/64/1f431-1f3fb.png": b"variant", "img/google/sheets/64.png": b"sheet", "LICENSE": b"MIT"}
    archived({"emoji.json": json.dumps(rows).encode(), **images, **extra})
    source = GoogleEmoji(str(tmp_path / "emoji_google"), PACKAGE)
    assert fetch_folder(Path(source.path), source.fill)
    return source


def test_only_googles_own_images_without_variants_are_kept(googles: GoogleEmoji) -> None:
    names = {path.name for path in Path(googles.path).iterdir()}
    assert names == {"LICENSE", "emoji.json", "1f431.png", "2764-fe0f.png", "1f408-200d-2b1b.png", "1f3fb.png"}


def test_google_names_are_captions_unless_they_describe_a_glyph(googles: GoogleEmoji) -> None:
    found = {candidate.code_point: (candidate.caption, candidate.category) for candidate in googles.candidates()}
    assert found == {
        "1F431": ("cat face", "animals"),
        "2764": ("heart", "symbols"),
        "1F408-200D-2B1B": ("black cat", "animals"),
    }
    assert all(candidate.image.is_file() for candidate in googles.candidates())


def test_openmoji_drawings_come_without_skin_tones_and_components(tmp_path: Path, archived: Archived) -> None:
    rows = [
        openmoji("1F468", "man"),
        openmoji("1F468-1F3FB", "man: light skin tone", skintone="1"),
        openmoji("1F33B", "Sunflower", group="animals-nature", subgroups="plant-flower"),
        openmoji("E000", "a brand", group="extras-openmoji", subgroups="brand"),
        openmoji("1F9B0", "red hair", group="component", subgroups="hair-style"),
    ]
    drawings = {f"color/svg/{row['hexcode']}.svg": b"<svg/>" for row in rows}
    black = {"black/svg/1F468.svg": b"<svg/>"}
    archived({"data/openmoji.json": json.dumps(rows).encode(), "LICENSE.txt": b"CC", **drawings, **black})
    source = OpenMoji(str(tmp_path / "openmoji"), PACKAGE)
    assert fetch_folder(Path(source.path), source.fill)
    assert not (tmp_path / "openmoji/1F468-1F3FB.svg").exists()
    found = {candidate.code_point: (candidate.caption, candidate.category) for candidate in source.candidates()}
    assert found == {"1F468": ("man", "people"), "1F33B": ("sunflower", "plants"), "E000": ("a brand", None)}
    assert "three" in source.candidates()[0].keywords


@pytest.mark.parametrize(
    ("unified", "expected"),
    [
        ("1f44b", "1F44B"),
        ("1F44B-1F3FD", "1F44B"),
        ("2764-FE0F", "2764"),
        ("0023-FE0F-20E3", "0023-20E3"),
        ("1F468-1F3FB-200D-1F9B0", "1F468-200D-1F9B0"),
    ],
)
def test_code_points_have_no_skin_tone_and_no_variation_selector(unified: str, expected: str) -> None:
    assert code_point(unified) == expected


@pytest.mark.parametrize("source", [GoogleEmoji, OpenMoji])
def test_what_is_not_fetched_names_the_command(tmp_path: Path, source: type[GoogleEmoji | OpenMoji]) -> None:
    with pytest.raises(NotHereError, match=r"task=fetch task\.what=split"):
        source(str(tmp_path), PACKAGE).candidates()


def test_damaged_names_are_refused(googles: GoogleEmoji) -> None:
    (Path(googles.path) / "emoji.json").write_text("[{")
    with pytest.raises(VlmatchError, match=r"emoji\.json' is damaged"):
        googles.candidates()
