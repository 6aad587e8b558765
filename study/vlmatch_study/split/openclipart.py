"""The Open Clip Art Library from two Debian packages: PNG from one, titles and keywords from the other's SVG."""

import json
import re
from collections import defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

from vlmatch.errors import NotHereError, VlmatchError
from vlmatch.objects import Buildable
from vlmatch.packages.archives import write_files
from vlmatch.packages.deb import Archive, read_members
from vlmatch.probes.concepts import phrase
from vlmatch.probes.fetch import debian_package
from vlmatch_study.split.sources import Candidate

# Folders that are not kept: 1,400 stars and other plain shapes, buttons, letters made of lamps, patterns.
PLAIN = ("shapes/", "buttons/", "computer/buttons/", "special/", "signs_and_symbols/led/")
MAX_PIXELS = 2_000_000  # 25 pictures with more (up to 623 million) are not kept, because they take long to decode
COLLECTION = 3  # a title that this many differently named files share is the title of a collection

_PNG = re.compile(r"usr/share/openclipart/png/(.+\.png)")
_SVG = re.compile(r"usr/share/openclipart/svg/(.+\.svg)")
_AUTHOR = re.compile(r"^clip-?art by [^-]+ - ", re.IGNORECASE)
_WORK = "{http://web.resource.org/cc/}Work"
_DC = "{http://purl.org/dc/elements/1.1/}"
_ITEM = "{http://www.w3.org/1999/02/22-rdf-syntax-ns#}li"
_METADATA = "metadata.jsonl"

_CATEGORIES = {
    "animals": "animals",
    "buildings": "buildings",
    "computer": "technology",
    "containers": "tools",
    "education": "office",
    "electronics": "technology",
    "food": "food",
    "geography": "nature",
    "geography/astronomy": "nature",
    "office": "office",
    "people": "people",
    "people/clothing": "clothing",
    "people/smilies": "faces",
    "plants": "plants",
    "recreation": "recreation",
    "science": "tools",
    "science/astronomy": "nature",
    "signs_and_symbols": "symbols",
    "signs_and_symbols/flags": "flags",
    "signs_and_symbols/weather": "nature",
    "tools": "tools",
    "transportation": "transport",
}


@dataclass(frozen=True)
class OpenClipart(Buildable):
    """The clip-art below `path`: PNG files, and one line of metadata.jsonl for each.

    The line has `"title": null` if the SVG is broken XML or defines its own entities.
    """

    path: str
    png: Archive
    svg: Archive
    name: str = "clipart"
    kind: str = "clipart"

    def fill(self, folder: Path, staging: Path) -> None:
        """Write the PNG files and metadata.jsonl into `folder`; raises what `debian_package` raises."""
        pictures = read_members(debian_package(self.png, staging, "split.sources.openclipart.png.deb"), _PNG)
        drawings = read_members(debian_package(self.svg, staging, "split.sources.openclipart.svg.deb"), _SVG)
        copyright_file = pictures.pop("copyright")
        kept = {name: data for name, data in pictures.items() if _wanted(name, data)}
        rows = [_described(name, drawings) for name in sorted(kept)]
        lines = "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows)
        write_files({**kept, _METADATA: lines.encode(), "copyright": copyright_file}, folder)

    def candidates(self) -> list[Candidate]:
        """Each PNG with its title, or with its file's name if the title is that of a collection."""
        rows = self._rows()
        names = defaultdict(set)
        for row in rows:
            names[row["title"]].add(_stem(row["image"]))
        collections = {title for title, files in names.items() if not phrase(title or "") or len(files) >= COLLECTION}
        return [self._candidate(row, guess=row["title"] in collections) for row in rows]

    def _candidate(self, row: Mapping[str, Any], *, guess: bool) -> Candidate:
        name = row["image"].removesuffix(".png")
        caption = _stem(name) if guess else phrase(_AUTHOR.sub("", row["title"]))
        return Candidate(name, Path(self.path) / row["image"], caption, _category(name), guess=guess)

    def _rows(self) -> list[dict[str, Any]]:
        file = Path(self.path) / _METADATA
        if not file.is_file():
            raise NotHereError(f"clip-art '{self.path}' is not there; get it by task=fetch task.what=split")
        try:
            rows = [json.loads(line) for line in file.read_text(encoding="utf-8").splitlines()]
            return sorted(rows, key=lambda row: row["image"])
        except (ValueError, KeyError, TypeError) as error:
            raise VlmatchError(f"'{file}' is damaged; delete '{self.path}' and fetch it again") from error


def _wanted(name: str, png: bytes) -> bool:
    """Whether a picture is kept. Bytes 16 to 24 of a PNG hold its width and height."""
    pixels = int.from_bytes(png[16:20]) * int.from_bytes(png[20:24])
    return not name.startswith(PLAIN) and pixels <= MAX_PIXELS


def _described(name: str, drawings: Mapping[str, bytes]) -> dict[str, Any]:
    """The metadata of one picture, from the drawing of the same name."""
    title, description, keywords = None, "", []
    for work in _works(drawings.get(name.removesuffix(".png") + ".svg", b"")):
        title = title or _text(work.find(f"{_DC}title"))
        description = description or _text(work.find(f"{_DC}description"))
        keywords += [_text(item) for item in work.iterfind(f"{_DC}subject//{_ITEM}")]
    return {"image": name, "title": title, "description": description, "keywords": keywords}


def _works(drawing: bytes) -> Iterator[Any]:
    """The elements that describe the work; none if the XML is broken or defines entities."""
    from defusedxml.common import DefusedXmlException
    from defusedxml.ElementTree import ParseError, fromstring

    try:
        yield from fromstring(drawing).iter(_WORK)
    except (ParseError, DefusedXmlException, ValueError):
        return


def _text(element: Any) -> str:
    return "" if element is None else " ".join((element.text or "").split())


def _stem(name: str) -> str:
    return phrase(PurePosixPath(name).stem.replace("-", " "))


def _category(name: str) -> str | None:
    """The category of the innermost folder that has one."""
    folders = [parent.as_posix() for parent in PurePosixPath(name).parents]
    return next((_CATEGORIES[folder] for folder in folders if folder in _CATEGORIES), None)
