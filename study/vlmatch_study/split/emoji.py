"""Two sets of emoji from npm packages, with their code points: Google's as PNG, OpenMoji's as SVG."""

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

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
class GoogleEmoji(Buildable):
    """Google's emoji below `path`, 64 pixels wide, with emoji.json; without the variants by skin tone."""

    path: str
    package: Mapping[str, str]
    name: str = "emoji_google"
    kind: str = "emoji"

    def fill(self, folder: Path, staging: Path) -> None:
        """Write emoji.json, the licence, and the images of the emoji in it into `folder`."""
        root = _unpacked(self.package, staging, r"(?:emoji\.json|LICENSE|img/google/64/[0-9a-f-]+\.png)")
        rows = _json(root / "emoji.json")
        images = [root / "img/google/64" / row["image"] for row in rows if row["has_img_google"]]
        _keep([root / "emoji.json", root / "LICENSE", *images], folder)

    def candidates(self) -> list[Candidate]:
        """Each emoji with Unicode's name for it."""
        rows = [row for row in _json(_here(self.path, "emoji.json")) if row["has_img_google"]]
        found = [
            Candidate(
                row["image"].removesuffix(".png"),
                Path(self.path) / row["image"],
                _google_caption(row["name"], row["short_name"]),
                _category(row["category"], row["subcategory"]),
                code_point(row["unified"]),
                keywords=f"{row['name']} {' '.join(row['short_names'])}",
            )
            for row in rows
            if not _part(row["category"])
        ]
        return sorted(found, key=lambda candidate: candidate.id)


@dataclass(frozen=True)
class OpenMoji(Buildable):
    """OpenMoji's drawings below `path`, with openmoji.json; without the variants by skin tone."""

    path: str
    package: Mapping[str, str]
    name: str = "openmoji"
    kind: str = "emoji"

    def fill(self, folder: Path, staging: Path) -> None:
        """Write openmoji.json, the licence, and the coloured drawings of the emoji in it into `folder`."""
        root = _unpacked(self.package, staging, r"(?:data/openmoji\.json|LICENSE\.txt|color/svg/[0-9A-F-]+\.svg)")
        rows = _json(root / "data/openmoji.json")
        drawings = [root / "color/svg" / f"{row['hexcode']}.svg" for row in rows if not row["skintone"]]
        _keep([root / "data/openmoji.json", root / "LICENSE.txt", *drawings], folder)

    def candidates(self) -> list[Candidate]:
        """Each emoji with OpenMoji's annotation."""
        rows = [row for row in _json(_here(self.path, "openmoji.json")) if not row["skintone"]]
        found = [
            Candidate(
                row["hexcode"],
                Path(self.path) / f"{row['hexcode']}.svg",
                phrase(row["annotation"]),
                _category(row["group"], row["subgroups"]),
                code_point(row["hexcode"]),
                keywords=f"{row['annotation']} {row['tags']} {row['openmoji_tags']}",
            )
            for row in rows
            if not _part(row["group"])
        ]
        return sorted(found, key=lambda candidate: candidate.id)


def code_point(unified: str) -> str:
    """An emoji's code points without skin tones and variation selectors: '1F44B-1F3FB' and '1f44b' are '1F44B'."""
    parts = [part for part in unified.upper().split("-") if part not in _SKIN and part not in {"FE0E", "FE0F"}]
    return "-".join(parts)


def _google_caption(name: str, short_name: str) -> str:
    """The name, or the short name if only the name has a word of `_GLYPH_WORDS`: 'HEAVY BLACK HEART' is a heart."""
    caption, short = phrase(name), phrase(short_name.replace("-", " "))
    doubtful = any(word in caption.split() and word not in short.split() for word in _GLYPH_WORDS)
    return short if doubtful else caption


def _part(group: str) -> bool:
    """Whether the group holds skin tones and hair styles, which are parts of other emoji."""
    return group.casefold() == "component"


def _category(group: str, subgroup: str) -> str | None:
    def slug(text: str) -> str:
        return "-".join(text.casefold().replace("&", " ").replace("-", " ").split())

    return _SUBGROUPS.get(slug(subgroup), _GROUPS.get(slug(group)))


def _unpacked(package: Mapping[str, str], staging: Path, wanted: str) -> Path:
    """The folder below `staging` that holds the wanted files of an npm package."""
    archive = npm_tarball(package["name"], package["version"], package["sha256"], staging)
    root = staging / "package"
    unpack_tarball(archive, root, re.compile(wanted))
    return root


def _keep(files: list[Path], folder: Path) -> None:
    """Move the files side by side into `folder`, with one mode."""
    for file in files:
        file.chmod(0o644)
        file.rename(folder / file.name)


def _here(path: str, name: str) -> Path:
    file = Path(path) / name
    if not file.is_file():
        raise NotHereError(f"emoji '{path}' are not there; get them by task=fetch task.what=split")
    return file


def _json(file: Path) -> list[dict[str, Any]]:
    try:
        return list(json.loads(file.read_text(encoding="utf-8")))
    except ValueError as error:
        raise VlmatchError(f"'{file}' is damaged; delete its folder and fetch it again") from error
