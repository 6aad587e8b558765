"""Two sets of emoji from npm packages, with their code points: Google's as PNG, OpenMoji's as SVG."""

import json
import re
from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

from vlmatch.errors import NotHereError, VlmatchError
from vlmatch.objects import Buildable
from vlmatch.packages.npm import npm_tarball, unpack_tarball
from vlmatch.probes.concepts import phrase
from vlmatch_study.split.sources import Candidate

_GLYPH_WORDS = ("black", "white", "heavy")  # in Unicode's names these often mean filled, outlined and bold
_SKIN = {"1F3FB", "1F3FC", "1F3FD", "1F3FE", "1F3FF"}

_GROUPS = {
    "smileys-emotion": "faces",
    "people-body": "people",
    "animals-nature": "animals",
    "food-drink": "food",
    "activities": "recreation",
    "objects": "tools",
    "symbols": "symbols",
    "flags": "flags",
}
_SUBGROUPS = {
    "heart": "symbols",
    "emotion": "symbols",
    "plant-flower": "plants",
    "plant-other": "plants",
    "gardening": "plants",
    "transport-ground": "transport",
    "transport-water": "transport",
    "transport-air": "transport",
    "place-building": "buildings",
    "place-religious": "buildings",
    "place-other": "buildings",
    "place-map": "nature",
    "place-geographic": "nature",
    "sky-weather": "nature",
    "climate-environment": "nature",
    "clothing": "clothing",
    "time": "tools",
    "healthcare": "tools",
    "emergency": "tools",
    "sound": "recreation",
    "music": "recreation",
    "musical-instrument": "recreation",
    "phone": "technology",
    "computer": "technology",
    "technology": "technology",
    "light-video": "technology",
    "ui-element": "symbols",
    "interaction": "symbols",
    "symbol-other": "symbols",
    "queer-symbols": "symbols",
    "regional-indicator": "symbols",
    "book-paper": "office",
    "money": "office",
    "mail": "office",
    "writing": "office",
    "office": "office",
    "subdivision-flag": "flags",
    "people": "people",
    **{group: category for group, category in _GROUPS.items() if group not in {"activities", "people-body"}},
}


@dataclass(frozen=True)
class _EmojiPackage(Buildable, ABC):
    """A set of emoji below `path`, from an npm package, with the table that describes them."""

    path: str
    package: Mapping[str, str]
    name: str
    kind: str = "emoji"

    # Places in the package.
    table: ClassVar[str]
    licence: ClassVar[str]
    pictures: ClassVar[str]

    def fill(self, folder: Path, staging: Path) -> None:
        """Write the table, the licence and the pictures of the emoji in the table into `folder`, side by side."""
        archive = npm_tarball(self.package["name"], self.package["version"], self.package["sha256"], staging)
        root = staging / "package"
        wanted = "|".join(map(re.escape, (self.table, self.licence)))
        unpack_tarball(
            archive, root, re.compile(rf"(?:{wanted}|{re.escape(self.pictures)}/[0-9A-Fa-f-]+\.(?:png|svg))")
        )
        pictures = [root / self.pictures / self.file(row) for row in self.rows(root / self.table)]
        for file in (root / self.table, root / self.licence, *pictures):
            file.chmod(0o644)
            file.rename(folder / file.name)

    def candidates(self) -> list[Candidate]:
        """Each emoji of the table; skin tones and hair styles are left out, because they are parts of other emoji."""
        table = Path(self.path) / Path(self.table).name
        if not table.is_file():
            raise NotHereError(f"emoji '{self.path}' are not there; get them by task=fetch task.what=split")
        found = [self.candidate(row) for row in self.rows(table) if self.group(row).casefold() != "component"]
        return sorted(found, key=lambda candidate: candidate.id)

    def rows(self, table: Path) -> list[dict[str, Any]]:
        """The rows of the table whose pictures are kept; VlmatchError if it is damaged."""
        try:
            return [row for row in json.loads(table.read_text(encoding="utf-8")) if self.has_picture(row)]
        except ValueError as error:
            raise VlmatchError(f"'{table}' is damaged; delete its folder and fetch it again") from error

    @abstractmethod
    def has_picture(self, row: Mapping[str, Any]) -> bool:
        """Whether the row's picture is in the package, and is wanted."""

    @abstractmethod
    def file(self, row: Mapping[str, Any]) -> str:
        """The name of the row's picture."""

    @abstractmethod
    def group(self, row: Mapping[str, Any]) -> str:
        """The row's group in Unicode's order."""

    @abstractmethod
    def candidate(self, row: Mapping[str, Any]) -> Candidate:
        """The row's emoji with its caption and category."""


@dataclass(frozen=True)
class GoogleEmoji(_EmojiPackage):
    """Google's emoji, 64 pixels wide, without the variants by skin tone. Captions are Unicode's names."""

    name: str = "emoji_google"
    table, licence, pictures = "emoji.json", "LICENSE", "img/google/64"

    def has_picture(self, row: Mapping[str, Any]) -> bool:
        """Whether Google has drawn the emoji."""
        return bool(row["has_img_google"])

    def file(self, row: Mapping[str, Any]) -> str:
        """The name of the PNG file."""
        return str(row["image"])

    def group(self, row: Mapping[str, Any]) -> str:
        """The row's group in Unicode's order."""
        return str(row["category"])

    def candidate(self, row: Mapping[str, Any]) -> Candidate:
        """The row's emoji with its caption and category."""
        return Candidate(
            row["image"].removesuffix(".png"),
            Path(self.path) / row["image"],
            _google_caption(row["name"], row["short_name"]),
            _category(row["category"], row["subcategory"]),
            code_point(row["unified"]),
            keywords=f"{row['name']} {' '.join(row['short_names'])}",
        )


@dataclass(frozen=True)
class OpenMoji(_EmojiPackage):
    """OpenMoji's coloured drawings, without the variants by skin tone. Captions are OpenMoji's annotations."""

    name: str = "openmoji"
    table, licence, pictures = "data/openmoji.json", "LICENSE.txt", "color/svg"

    def has_picture(self, row: Mapping[str, Any]) -> bool:
        """Whether the emoji is not a variant by skin tone."""
        return not row["skintone"]

    def file(self, row: Mapping[str, Any]) -> str:
        """The name of the SVG file."""
        return f"{row['hexcode']}.svg"

    def group(self, row: Mapping[str, Any]) -> str:
        """The row's group in Unicode's order."""
        return str(row["group"])

    def candidate(self, row: Mapping[str, Any]) -> Candidate:
        """The row's emoji with its caption and category."""
        return Candidate(
            row["hexcode"],
            Path(self.path) / self.file(row),
            phrase(row["annotation"]),
            _category(row["group"], row["subgroups"]),
            code_point(row["hexcode"]),
            keywords=f"{row['annotation']} {row['tags']} {row['openmoji_tags']}",
        )


def code_point(unified: str) -> str:
    """An emoji's code points without skin tones and variation selectors: '1F44B-1F3FB' and '1f44b' are '1F44B'."""
    parts = [part for part in unified.upper().split("-") if part not in _SKIN and part not in {"FE0E", "FE0F"}]
    return "-".join(parts)


def _google_caption(name: str, short_name: str) -> str:
    """The name, or the short name if only the name has a word of `_GLYPH_WORDS`: 'HEAVY BLACK HEART' is a heart."""
    caption, short = phrase(name), phrase(short_name.replace("-", " "))
    doubtful = any(word in caption.split() and word not in short.split() for word in _GLYPH_WORDS)
    return short if doubtful else caption


def _category(group: str, subgroup: str) -> str | None:
    def slug(text: str) -> str:
        return "-".join(text.casefold().replace("&", " ").replace("-", " ").split())

    return _SUBGROUPS.get(slug(subgroup), _GROUPS.get(slug(group)))
