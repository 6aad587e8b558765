"""Open one image safely and always alike: bounded in size, upright, and RGB on white."""

import hashlib
import importlib.util
import io
import struct
import warnings
import zlib
from pathlib import Path
from typing import Protocol, TypeGuard

import numpy as np
from PIL import Image, ImageOps, UnidentifiedImageError

from vlmatch.errors import VlmatchError, one_line
from vlmatch.files import sha256_of_file
from vlmatch.probes.svg import require_harmless

MAX_PIXELS = 50_000_000
MAX_RATIO = 100  # of the sides: to resize the shorter one of a line of pixels makes a huge image
MAX_BYTES = 500_000_000  # of an encoded image inside a container, which is read into memory
SVG_SIDE = 512  # pixels of the longer side of a rendered drawing; the encoders look at 224 to 384

# What photographs and clip-art come as; left out are formats whose decoder starts other programs (EPS).
FORMATS = ("JPEG", "PNG", "GIF", "WEBP", "AVIF", "JPEG2000", "TIFF", "BMP", "PPM")

_BROKEN_FILE = (OSError, SyntaxError, ValueError, EOFError, IndexError, RuntimeError, struct.error, zlib.error)


class Contained(Protocol):
    """An image inside a container, such as a tar file; `str` of it names it for people.

    Implementations are small, frozen and picklable: worker processes get them, and open the container themselves.
    """

    @property
    def name(self) -> str:
        """The image's name within its container."""

    def read(self) -> bytes:
        """The encoded image; OSError or ImageError if it can't be read."""


ImageSource = Path | Contained


class ImageError(VlmatchError):
    """One image that can't be used; `reason` says why in two or three words, for counting."""

    def __init__(self, message: str, reason: str) -> None:
        super().__init__(message)
        self.reason = reason


def open_image(source: ImageSource, max_pixels: int = MAX_PIXELS) -> Image.Image:
    """Decode an image to RGB, upright (EXIF orientation) and on white where it is transparent.

    The size is read from the header and checked before anything is decoded. Of an animation the first
    frame counts; 16-bit greys are scaled to 8 bits; an SVG file is rendered with `SVG_SIDE` pixels on its longer side.

    Raises ImageError if the image is missing, can't be decoded, has more than `max_pixels` pixels, or one side that is
    more than `MAX_RATIO` times the other.
    """
    if _is_svg(source):
        return _render_svg(source)
    try:
        return _decode(source, max_pixels)
    except Image.DecompressionBombError as error:  # Pillow's own limit, for a max_pixels beyond it
        raise _too_large(source, one_line(error), max_pixels) from error
    except _BROKEN_FILE as error:
        raise _undecodable(source, error) from error


def image_size(source: ImageSource) -> tuple[int, int] | None:
    """Width and height as the header has them, unturned and undecoded; None for a drawing (SVG), which has no pixels.

    Raises ImageError if the image is missing, has no header that can be read, or is too long for its height.
    """
    if _is_svg(source):
        return None
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            with Image.open(_opened(source), formats=FORMATS) as image:
                _require_ratio(source, *image.size)
                return image.size
    except (Image.DecompressionBombError, *_BROKEN_FILE) as error:
        raise _undecodable(source, error) from error


def sha256_of_image(source: ImageSource) -> str:
    """SHA-256 of the encoded image's bytes; OSError or ImageError if they can't be read."""
    return sha256_of_file(source) if isinstance(source, Path) else hashlib.sha256(source.read()).hexdigest()


def _is_svg(source: ImageSource) -> TypeGuard[Path]:
    """Whether the image is a drawing; a missing file is refused here. Containers hold pixels only."""
    if not isinstance(source, Path):
        return False
    if not source.is_file():
        raise ImageError(f"image '{source}' is not there; restore the file or remove its row", "not there")
    return source.suffix.lower() == ".svg"


def _opened(source: ImageSource) -> Path | io.BytesIO:
    return source if isinstance(source, Path) else io.BytesIO(source.read())


def _decode(source: ImageSource, max_pixels: int) -> Image.Image:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # Pillow warns of large and slightly damaged files; the checks here decide
        with Image.open(_opened(source), formats=FORMATS) as image:
            width, height = image.size
            if width * height > max_pixels:
                raise _too_large(source, f"{width} x {height} = {width * height:,} pixels", max_pixels)
            _require_ratio(source, width, height)
            return _rgb_on_white(ImageOps.exif_transpose(image))


def _require_ratio(source: ImageSource, width: int, height: int) -> None:
    if max(width, height) > MAX_RATIO * min(width, height):
        raise ImageError(
            f"image '{source}' is {width} x {height} pixels, one side more than {MAX_RATIO} times the other; cut it, "
            "or remove its row",
            "too long",
        )


def _undecodable(source: ImageSource, error: Exception) -> ImageError:
    unknown = isinstance(error, UnidentifiedImageError)
    why = f"it is none of {', '.join(FORMATS)}, SVG" if unknown else one_line(error)
    return ImageError(f"image '{source}' can't be decoded ({why}); replace it or remove its row", "can't be decoded")


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
        text = path.read_text(encoding="utf-8")
        require_harmless(text)
        drawing = resvg_py.svg_to_bytes(
            svg_string=text,
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
        message = f"image '{path}' can't be rendered ({one_line(error)}); replace the file or remove its row"
        raise ImageError(message, "can't be decoded") from error


def _fonts() -> Path:
    spec = importlib.util.find_spec("matplotlib")
    if spec is None or spec.origin is None:
        raise VlmatchError("matplotlib is not installed, and text in SVG images needs its fonts; run 'make run' again")
    return Path(spec.origin).parent / "mpl-data" / "fonts" / "ttf"


def _too_large(source: ImageSource, size: str, max_pixels: int) -> ImageError:
    return ImageError(
        f"image '{source}' is too large ({size}; the limit is {max_pixels:,}); shrink it, or raise probe.max_pixels",
        "too large",
    )
