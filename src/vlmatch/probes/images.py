"""Open one image file safely and always alike: bounded in size, upright, and RGB on white."""

import importlib.util
import io
import struct
import warnings
import zlib
from pathlib import Path

import numpy as np
from PIL import Image, ImageOps, UnidentifiedImageError

from vlmatch.errors import VlmatchError, one_line

MAX_PIXELS = 50_000_000
SVG_SIDE = 512  # pixels of the longer side of a rendered drawing; the encoders look at 224 to 384

# What photographs and clip-art come as; left out are formats whose decoder starts other programs (EPS).
FORMATS = ("JPEG", "PNG", "GIF", "WEBP", "AVIF", "JPEG2000", "TIFF", "BMP", "PPM")

_BROKEN_FILE = (OSError, SyntaxError, ValueError, EOFError, IndexError, RuntimeError, struct.error, zlib.error)


def open_image(path: Path, max_pixels: int = MAX_PIXELS) -> Image.Image:
    """Decode an image file to RGB, upright (EXIF orientation) and on white where it is transparent.

    The size is read from the header and checked before anything is decoded. Of an animation the first
    frame counts; 16-bit greys are scaled to 8 bits; an SVG is rendered with `SVG_SIDE` pixels on its longer side.

    Raises VlmatchError if the file is missing, can't be decoded or has more than `max_pixels` pixels.
    """
    if not path.is_file():
        raise VlmatchError(f"image '{path}' is not there; restore the file or remove its row")
    if path.suffix.lower() == ".svg":
        return _render_svg(path)
    try:
        return _decode(path, max_pixels)
    except Image.DecompressionBombError as error:  # Pillow's own limit, for a max_pixels beyond it
        raise _too_large(path, one_line(error), max_pixels) from error
    except UnidentifiedImageError as error:
        raise VlmatchError(
            f"image '{path}' can't be decoded (it is none of {', '.join(FORMATS)}, SVG); replace it or remove its row"
        ) from error
    except _BROKEN_FILE as error:
        raise VlmatchError(
            f"image '{path}' can't be decoded ({one_line(error)}); replace the file or remove its row"
        ) from error


def _decode(path: Path, max_pixels: int) -> Image.Image:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # Pillow warns of large and slightly damaged files; the checks here decide
        with Image.open(path, formats=FORMATS) as image:
            width, height = image.size
            if width * height > max_pixels:
                raise _too_large(path, f"{width} x {height} = {width * height:,} pixels", max_pixels)
            return _rgb_on_white(ImageOps.exif_transpose(image))


def _rgb_on_white(image: Image.Image) -> Image.Image:
    if image.mode.startswith("I"):
        image = _eight_bits(image)
    if image.mode == "F":
        raise ValueError("floating-point pixels have no agreed white; convert it to 8 bits")
    if not image.has_transparency_data:
        return image.convert("RGB")
    pixels = image.convert("RGBA")
    return Image.alpha_composite(Image.new("RGBA", pixels.size, "white"), pixels).convert("RGB")


def _eight_bits(image: Image.Image) -> Image.Image:
    """Scale 16-bit greys to 8 bits; Pillow's own conversion clips them at 255."""
    values = np.asarray(image).astype(np.int64)
    if values.min() < 0 or values.max() > 65_535:
        raise ValueError("32-bit pixels have no agreed white; convert it to 8 bits")
    return Image.fromarray(np.round(values / 257).astype(np.uint8))


def _render_svg(path: Path) -> Image.Image:
    import resvg_py

    try:
        drawing = resvg_py.svg_to_bytes(
            svg_string=path.read_text(encoding="utf-8"),
            width=SVG_SIDE,
            height=SVG_SIDE,
            dpi=96,  # sizes in points or millimetres count as CSS has them
            background="#ffffff",
            skip_system_fonts=True,  # text must look the same on every machine: matplotlib's copy of DejaVu
            font_files=[str(_fonts() / "DejaVuSans.ttf")],
            font_family="DejaVu Sans",
            serif_family="DejaVu Sans",
            sans_serif_family="DejaVu Sans",
        )
        return Image.open(io.BytesIO(drawing)).convert("RGB")
    except _BROKEN_FILE as error:
        raise VlmatchError(
            f"image '{path}' can't be rendered ({one_line(error)}); replace the file or remove its row"
        ) from error


def _fonts() -> Path:
    spec = importlib.util.find_spec("matplotlib")
    if spec is None or spec.origin is None:
        raise VlmatchError("matplotlib is not installed, and text in SVG images needs its fonts; run 'make run' again")
    return Path(spec.origin).parent / "mpl-data" / "fonts" / "ttf"


def _too_large(path: Path, size: str, max_pixels: int) -> VlmatchError:
    return VlmatchError(
        f"image '{path}' is too large ({size}; the limit is {max_pixels:,}); shrink it, or raise probe.max_pixels"
    )
