"""Render SVG drawings; refuse those that would crash the renderer or show other files of this machine."""

import importlib.util
import io
import re
from pathlib import Path

from defusedxml import ElementTree

from vlmatch.errors import VlmatchError
from vlmatch.probes.text import encoding_of

SIDE = 512  # pixels of the longer side of a rendered drawing; encoders see 224 to 384
MAX_BYTES = 20_000_000
MAX_DEPTH = 100  # of nested elements; the renderer's stack overflows at a few hundred
MAX_OCTAVES = 10  # of feTurbulence; the time grows with each
_REFERENCES = ("href", "{http://www.w3.org/1999/xlink}href")
_DECLARATION = re.compile(r"""\A\s*<\?xml[^>]*?(?:encoding\s*=\s*["']([\w.-]+)["'][^>]*)?\?>""", re.ASCII)


def rendered(text: str) -> bytes:
    """A drawing as a PNG on white, with `SIDE` pixels on its longer side.

    Rendering may take any amount of time and memory, so `svg_process` runs it in a process of its own.
    Raises ValueError or SyntaxError as `require_harmless` does, and the renderer's own errors.
    """
    import resvg_py

    require_harmless(text)
    return bytes(
        resvg_py.svg_to_bytes(
            svg_string=text,
            width=SIDE,
            height=SIDE,
            dpi=96,  # as CSS has it, for sizes in points or millimetres
            background="#ffffff",
            skip_system_fonts=True,  # text must look the same on every machine: use matplotlib's copy of DejaVu
            font_files=[str(_fonts() / "DejaVuSans.ttf")],
            font_family="DejaVu Sans",
            serif_family="DejaVu Sans",
            sans_serif_family="DejaVu Sans",
        )
    )


def text_of_drawing(drawing: bytes) -> str:
    """The XML of a drawing, without its declaration, which may name another encoding than UTF-8.

    Raises ValueError if the drawing is not in that encoding, LookupError if no encoding has that name.
    """
    unicode, _ = encoding_of(drawing)
    declared = _DECLARATION.match(drawing[:200].decode("latin-1"))
    text = drawing.decode(declared[1] if declared and declared[1] and unicode == "utf-8" else unicode)
    return _DECLARATION.sub("", text, count=1)


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


def _fonts() -> Path:
    spec = importlib.util.find_spec("matplotlib")
    if spec is None or spec.origin is None:
        raise VlmatchError("matplotlib is not installed, and text in SVG images needs its fonts; run 'make run' again")
    return Path(spec.origin).parent / "mpl-data" / "fonts" / "ttf"
