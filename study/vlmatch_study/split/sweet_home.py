"""Rendered objects of Sweet Home 3D from its Debian package: pictures, names, categories and creators."""

import csv
import io
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from vlmatch.errors import NotHereError, VlmatchError
from vlmatch.objects import Buildable
from vlmatch.packages.archives import Limits, files_of_zip, write_files
from vlmatch.packages.deb import Archive, read_members
from vlmatch.probes.concepts import phrase
from vlmatch.probes.fetch import debian_package
from vlmatch_study.split.sources import Candidate

OBJECTS = "objects.csv"  # one line for each picture, with the credits that the licence CC BY requires
COLUMNS = ("image", "name", "category", "tags", "creator", "licence")
NO_CATEGORY = ("", "Miscellaneous")

_CATALOGUE = re.compile(r"usr/share/sweethome3d/furniture/(.+)\.sh3f")
_TABLE, _LICENCE = "PluginFurnitureCatalog.properties", "LICENSE.TXT"
_OF_PACKAGE = Limits(total=500_000_000, each=100_000_000)  # bytes; the largest catalogue has 61 MB
_OF_CATALOGUE = Limits(total=50_000_000, each=5_000_000)  # bytes of pictures and texts; the models are not read
_LINE = re.compile(r"\s*((?:\\.|[^\s=:\\])+)\s*[=:]\s*(.*)")
_ESCAPE = re.compile(r"\\(?:u([0-9A-Fa-f]{4})|(.))")


@dataclass(frozen=True)
class SweetHome(Buildable):
    """The objects below `path`: a PNG of each, and one line of objects.csv."""

    path: str
    archive: Archive
    fetched_by: str  # the command that fetches it, for messages
    name: str = "furniture"
    kind: str = "furniture"

    def fill(self, folder: Path, staging: Path) -> None:
        """Write pictures, objects.csv and licences into `folder`; raises what `debian_package` raises, or VlmatchError.

        A catalogue of the package is a zip with a table of its objects, their icons, and models that are not needed.
        """
        deb = debian_package(self.archive, staging, f"probe.split.sources.{self.name}.archive.deb")
        catalogues = read_members(deb, _CATALOGUE, _OF_PACKAGE)
        files, rows = {"copyright": catalogues.pop("copyright")}, []
        for catalogue, content in sorted(catalogues.items()):
            members = dict(_members(catalogue, content))
            for row, icon in _objects(catalogue, members):
                rows.append(row)
                files[row["image"]] = icon
            files[f"{catalogue}/{_LICENCE}"] = members[_LICENCE]
        table = io.StringIO()
        writer = csv.DictWriter(table, COLUMNS, lineterminator="\n")
        writer.writeheader()
        writer.writerows(sorted(rows, key=lambda row: row["image"]))
        write_files({**files, OBJECTS: table.getvalue().encode()}, folder)

    def candidates(self) -> list[Candidate]:
        """Each object with its name, and with its category unless that is 'Miscellaneous'."""
        file = Path(self.path) / OBJECTS
        if not file.is_file():
            raise NotHereError(f"objects '{self.path}' are not there; get them by {self.fetched_by}")
        try:
            with file.open(encoding="utf-8", newline="") as lines:
                return [self._candidate(row) for row in csv.DictReader(lines)]
        except (ValueError, KeyError, AttributeError, csv.Error) as error:
            raise VlmatchError(f"'{file}' is damaged; delete '{self.path}' and fetch it again") from error

    def _candidate(self, row: Mapping[str, str]) -> Candidate:
        category = None if row["category"] in NO_CATEGORY else row["category"].lower()
        return Candidate(
            row["image"].removesuffix(".png"),
            Path(self.path) / row["image"],
            phrase(row["name"]),
            category,
            keywords=f"{row['name']} {row['tags']}",
        )


def properties(text: str) -> dict[str, str]:
    r"""The keys and values of a Java .properties file: comments, continued lines, \uXXXX and other escapes."""
    joined = re.sub(r"(?<!\\)((?:\\\\)*)\\\r?\n[ \t]*", r"\1", text)
    found = [_LINE.fullmatch(line) for line in joined.splitlines() if not line.lstrip().startswith(("#", "!"))]
    return {_unescaped(match[1]): _unescaped(match[2]) for match in found if match}


def _unescaped(text: str) -> str:
    return _ESCAPE.sub(lambda match: chr(int(match[1], 16)) if match[1] else match[2], text)


def _members(catalogue: str, content: bytes) -> Iterator[tuple[str, bytes]]:
    """The table, the licence and the pictures beside the models' folders."""

    def named(path: str) -> str | None:
        return path if path in (_TABLE, _LICENCE) or re.fullmatch(r"[^/]+/[^/]+\.png", path) else None

    for name, file in files_of_zip(io.BytesIO(content), f"{catalogue}.sh3f", _OF_CATALOGUE, named):
        yield name, file.read()


def _objects(catalogue: str, members: Mapping[str, bytes]) -> Iterator[tuple[dict[str, str], bytes]]:
    """Each object's line of objects.csv with its picture."""
    try:
        table = properties(members[_TABLE].decode("latin-1"))  # Java's encoding of such files
        for number in (key.removeprefix("id#") for key in table if key.startswith("id#")):
            icon = table[f"icon#{number}"].removeprefix("/")
            row = {
                "image": f"{catalogue}/{Path(icon).name}",
                "name": table[f"name#{number}"],
                "category": table.get(f"category#{number}", ""),
                "tags": table.get(f"tags#{number}", ""),
                "creator": table.get(f"creator#{number}", ""),
                "licence": " ".join(table["license"].split()),
            }
            yield row, members[icon]
    except KeyError as error:
        raise VlmatchError(f"archive '{catalogue}.sh3f' holds no {error}; fetch it again") from error
