"""Licences of models: where they are stated, and whether they allow commercial use."""

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from email.parser import HeaderParser
from pathlib import Path
from typing import Any, Literal

from vlmatch.errors import VlmatchError, shown
from vlmatch.packages.package import Package, is_here

How = Literal["package file", "package metadata", "catalogue", "none stated"]

OWN_TERMS = "own terms"
_FILE_NAMES = re.compile(r"(licen[cs]e|copying|unlicense)|.*([-_]terms|[-_]licen[cs]e)", re.IGNORECASE)
_LICENCE_FOLDERS = re.compile(r".*licen[cs]es?", re.IGNORECASE)
_TEXT_SUFFIXES = {"", ".txt", ".md", ".rst", ".html"}

# A licence text contains all of these phrases, in lower case with white space folded. The first match wins.
_TEXTS = (
    ("Gemma Terms of Use", ("gemma terms of use",)),
    ("Apache-2.0", ("apache", "licen", "version 2.0")),
    ("MIT", ("permission is hereby granted, free of charge, to any person obtaining a copy", "without restriction")),
    ("BSD-4-Clause", ("redistribution and use in source and binary forms", "all advertising materials")),
    ("BSD-3-Clause", ("redistribution and use in source and binary forms", "endorse or promote products")),
    ("BSD-2-Clause", ("redistribution and use in source and binary forms",)),
)
_GNU = re.compile(r"gnu (affero |lesser )?general public license,? (?:version|v\.?) ?(\d)(?:\.(\d))?")
_GNU_NAMES = {"affero ": "AGPL", "lesser ": "LGPL", None: "GPL"}
_METADATA_NAMES = {
    "apache software license": "Apache-2.0",
    "apache license 2.0": "Apache-2.0",
    "apache 2.0": "Apache-2.0",
    "mit license": "MIT",
    "bsd license": "BSD",
}
# Whether a licence allows commercial use. Llama's terms limit the number of users, Gemma's the uses, and GNU's licences
# require the source code of what is passed on or served.
_ALLOWING = {"MIT", "Apache-2.0", "BSD", "BSD-2-Clause", "BSD-3-Clause", "BSD-4-Clause", "ISC", "CC0-1.0", "CC-BY-4.0"}
_WITHIN_TERMS = {
    "AGPL-3.0", "GPL-3.0", "Gemma Terms of Use", "Llama 2 Community License", "Llama 3.1 Community License",
    "Llama 3.2 Community License",
}  # fmt: skip
_FORBIDDING = re.compile(r"\bNC\b|non-?commercial", re.IGNORECASE)


@dataclass(frozen=True)
class Licence:
    """A model's licence: its name, where it was read, and in which way (`How`; a joint licence may have several)."""

    name: str
    source: str
    how: How | str


@dataclass(frozen=True)
class Terms:
    """A model's licence, and whether it allows commercial use: 'yes', 'no', 'terms' (under conditions) or 'unclear'."""

    licence: Licence
    commercial_use: str


NONE_STATED = Licence("none stated", "", "none stated")


def terms_of(read: Licence, curated: Terms | None) -> Terms:
    """The terms that count for a model: a yaml's if it states another licence than the catalogue, else the catalogue's.

    read: the licence as `licence_of` gives it; it counts if the catalogue has none. curated: the terms in the
    catalogue; None if it has none. They override a package's licence, because a package may contain others' weights.
    """
    if curated is None or (read.how == "catalogue" and read.name != curated.licence.name):
        return Terms(read, commercial_use_by(read.name))
    return curated


def licence_of(model_config: Mapping[str, Any]) -> Licence:
    """The licence of the model that a yaml describes; nothing is downloaded.

    If its packages (`package:`, or a list `packages:`) are here, it is read from their files, else from their metadata.
    Else it is the yaml's own `licence: {name:, source:}`, which cites the upstream project. Raises VlmatchError if
    that lacks one of the two.
    """
    listed = [model_config.get("package"), *(model_config.get("packages") or [])]
    packages = [Package.of(entry) for entry in listed if entry]
    folders = [package.folder for package in packages if is_here(package)]
    for read in (_from_files, _from_metadata):
        for folder in folders:
            if found := read(folder):
                return found
    if stated := model_config.get("licence"):
        if not isinstance(stated, Mapping) or not {"name", "source"} <= set(stated):
            raise VlmatchError(
                f"licence={shown(stated)} of '{model_config.get('name')}'; wanted its name and its source: "
                "{name: MIT, source: ADDRESS}"
            )
        return Licence(stated["name"], stated["source"], "catalogue")
    return _unrecognised(folders) or NONE_STATED


def commercial_use_by(licence: str | None) -> str:
    """Whether a licence allows commercial use, by its name: 'yes', 'no', 'terms' (yes, under conditions) or 'unclear'.

    All parts of 'A AND B' and 'A + B' hold, so the strictest counts.
    """
    parts = [part.strip() for part in re.split(r" AND | \+ ", licence or "")]
    if any(_FORBIDDING.search(part) for part in parts):
        return "no"
    if not set(parts) <= _ALLOWING | _WITHIN_TERMS:
        return "unclear"
    return "yes" if set(parts) <= _ALLOWING else "terms"


def recognised(text: str) -> str | None:
    """The SPDX name of a licence text, or the name of Gemma's terms; None for any other text."""
    folded = " ".join(text.lower().replace("&nbsp;", " ").split())
    for name, phrases in _TEXTS:
        if all(phrase in folded for phrase in phrases):
            return name
    # The GNU texts mention each other; the title comes first, and it counts.
    gnu = _GNU.search(folded)
    return f"{_GNU_NAMES[gnu[1]]}-{gnu[2]}.{gnu[3] or 0}" if gnu else None


def licence_files(folder: Path) -> list[Path]:
    """The licence texts in an unpacked package: its own before those of third parties."""
    texts = [path for path in sorted(folder.rglob("*")) if path.is_file() and path.suffix.lower() in _TEXT_SUFFIXES]
    found = [path for path in texts if _is_licence(path.relative_to(folder))]
    return sorted(found, key=lambda path: len(path.parts))


def _is_licence(path: Path) -> bool:
    """Whether a file is a licence text: by its name, or because it lies in a folder of third parties' licences."""
    if path.stem.lower() == "notice":
        return False
    return bool(_FILE_NAMES.fullmatch(path.stem)) or any(_LICENCE_FOLDERS.fullmatch(part) for part in path.parts[:-1])


def _from_files(folder: Path) -> Licence | None:
    """All licences whose texts are recognised, because all of them apply to the package."""
    names: dict[str, str] = {}
    for path in licence_files(folder):
        name = recognised(path.read_text(encoding="utf-8", errors="replace"))
        if name is not None:
            names.setdefault(name, path.relative_to(folder).as_posix())
    return Licence(" AND ".join(names), ", ".join(names.values()), "package file") if names else None


def _from_metadata(folder: Path) -> Licence | None:
    """The licence that a wheel's METADATA states, else that of an npm package's package.json."""
    return _from_wheel(folder) or _from_npm(folder)


def _from_npm(folder: Path) -> Licence | None:
    """`license` of package.json: a name, or in old packages an object with `type`; 'UNLICENSED' grants nothing."""
    try:
        stated = json.loads((folder / "package.json").read_text(encoding="utf-8"))["license"]
        text = str((stated["type"] if isinstance(stated, Mapping) else stated) or "").strip()
    except (OSError, ValueError, KeyError, TypeError):
        return None
    if not text or text.upper() == "UNKNOWN":
        return None
    # 'UNLICENSED' forbids all use; 'SEE LICENSE IN ...' names a file of terms that was not recognised
    own = text.upper() == "UNLICENSED" or text.upper().startswith("SEE LICENSE IN")
    return Licence(OWN_TERMS if own else _METADATA_NAMES.get(text.lower(), text), "package.json", "package metadata")


def _from_wheel(folder: Path) -> Licence | None:
    """License-Expression, else License, else the classifiers of the wheel's METADATA; 'UNKNOWN' counts as absent."""
    for path in sorted(folder.glob("*.dist-info/METADATA")):
        metadata = HeaderParser().parsestr(path.read_text(encoding="utf-8", errors="replace"))
        classifiers = [value for value in metadata.get_all("Classifier", []) if value.startswith("License ::")]
        stated = [
            metadata["License-Expression"],
            metadata["License"],
            *(line.split(" :: ")[-1] for line in classifiers),
        ]
        for value in stated:
            text = str(value or "").strip()
            if text and text.upper() not in {"UNKNOWN", "OSI APPROVED"}:
                name = _METADATA_NAMES.get(text.lower()) or recognised(text) or text.splitlines()[0]
                return Licence(name, path.relative_to(folder).as_posix(), "package metadata")
    return None


def _unrecognised(folders: Sequence[Path]) -> Licence | None:
    """A licence text with terms of its own, which the user has to read."""
    for folder in folders:
        for path in licence_files(folder):
            return Licence(OWN_TERMS, path.relative_to(folder).as_posix(), "package file")
    return None
