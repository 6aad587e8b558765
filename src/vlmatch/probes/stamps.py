"""The stamps of Tux Paint from their Debian package: clip-art with one English sentence each."""

from pathlib import Path
from typing import Any

from vlmatch import paths
from vlmatch.errors import NotHereError, VlmatchError
from vlmatch.objects import buildable
from vlmatch.packages.deb import Archive
from vlmatch.probes.pairs import ProbeEntry, ProbeSet
from vlmatch.probes.selection import ProbeOptions, build_probe_set


@buildable
def stamps(path: str | Path, archive: Archive, name: str = "stamps", *, svg: bool = False, **options: Any) -> ProbeSet:
    """Read the stamps in the folder `path`, which `task=fetch` fills: NAME.png beside NAME.txt, sorted by id.

    The id is the path within the folder without suffix, the label its top folder, the caption the first line of the
    .txt (the other lines are translations). `svg` adds the drawings that exist only as SVG, rendered.
    `options` are those of `selection.ProbeOptions`.

    Raises NotHereError if the folder holds no stamps, VlmatchError as `selection.build_probe_set` does.
    """
    folder = Path(path)
    suffixes = {".png", ".svg"} if svg else {".png"}
    images = [image for image in folder.rglob("*") if image.suffix in suffixes and _counts(image)]
    if not images:
        raise NotHereError(
            f"probe '{name}': no stamps in '{folder}'; get them with {paths.program()} task=fetch, "
            "or point at your own images (probe=folder)"
        )
    entries = sorted((_entry(image, folder) for image in images), key=lambda entry: entry.id)
    return build_probe_set(
        name, entries, ProbeOptions(**options), source=f"Debian {archive.package} {archive.version}", licence="GPL-2"
    )


def _counts(image: Path) -> bool:
    """Whether the image has a caption; a drawing (SVG) does not count if there is a PNG of the same name."""
    drawn_twice = image.suffix == ".svg" and image.with_suffix(".png").is_file()
    return image.with_suffix(".txt").is_file() and not drawn_twice


def _entry(image: Path, folder: Path) -> ProbeEntry:
    name = image.relative_to(folder).with_suffix("").as_posix()
    return ProbeEntry(name, image, _caption(image.with_suffix(".txt")), label=name.split("/")[0])


def _caption(text: Path) -> str:
    try:
        lines = text.read_text(encoding="utf-8").splitlines()
    except UnicodeDecodeError as error:
        raise VlmatchError(f"caption file '{text}' is not UTF-8; convert it, or fetch the stamps again") from error
    return lines[0].strip() if lines else ""
