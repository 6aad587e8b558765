"""Refuse SVG files that would stop their renderer, or that show other files of this machine."""

import io

from defusedxml import ElementTree

MAX_BYTES = 20_000_000
MAX_DEPTH = 100  # of nested elements; the renderer's stack overflows at a few hundred
MAX_OCTAVES = 10  # of feTurbulence; the time grows with each
_REFERENCES = ("href", "{http://www.w3.org/1999/xlink}href")


def require_harmless(text: str) -> None:
    """Raise ValueError, or the parser's SyntaxError, if a drawing can't be rendered safely.

    A drawing must not show another file of this machine, whose content would be missing from the fingerprint. A file
    named by a relative path does no harm: the renderer leaves it out.
    """
    if len(text) > MAX_BYTES:
        raise ValueError(f"{len(text):,} characters, the limit is {MAX_BYTES:,}")
    depth = 0
    for event, element in ElementTree.iterparse(
        io.BytesIO(text.encode()), events=("start", "end"), forbid_entities=False
    ):
        depth += 1 if event == "start" else -1
        if depth > MAX_DEPTH:
            raise ValueError(f"elements are nested more than {MAX_DEPTH} deep")
        if event == "start":
            _require_harmless_element(element.tag.rpartition("}")[2], element.attrib)


def _require_harmless_element(name: str, attributes: dict[str, str]) -> None:
    if name in ("image", "feImage"):
        for key in _REFERENCES:
            target = attributes.get(key, "data:").strip()
            if target.startswith(("/", "\\")) or (":" in target and not target.startswith("data:")):
                raise ValueError(f"it shows another file, '{target[:60]}'; embed that as data")
    if name == "feTurbulence":
        octaves = attributes.get("numOctaves", "1").strip()
        if not octaves.isdigit() or int(octaves) > MAX_OCTAVES:
            raise ValueError(f"feTurbulence has numOctaves={octaves[:20]}, the limit is {MAX_OCTAVES}")
