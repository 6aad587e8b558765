"""Open one image safely and always in the same way: bounded in size, upright, and RGB on white."""

import hashlib
import io
import warnings
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from PIL import ExifTags, Image, PngImagePlugin, UnidentifiedImageError

from vlmatch.errors import one_line
from vlmatch.files import is_lfs_pointer, require_regular, sha256_of_file
from vlmatch.probes import svg
from vlmatch.probes.depth import eight_bit_greys, has_deep_colour, is_deep_grey, require_visible_colour
from vlmatch.probes.problems import EntryError
from vlmatch.probes.svg_process import RENDERERS

MAX_PIXELS = 50_000_000
MAX_RATIO = 100  # of the longer to the shorter side: resized by its shorter side, a line of pixels would be huge
MAX_BYTES = 500_000_000  # of an encoded image inside a container, which is read into memory
SVG_SIDE = svg.SIDE

# The formats of photographs and clip-art, without those whose decoder starts other programs (EPS).
FORMATS = ("JPEG", "PNG", "GIF", "WEBP", "AVIF", "JPEG2000", "TIFF", "BMP", "PPM")

SUFFIXES = (
    ".jpg", ".jpeg", ".png", ".webp", ".gif", ".bmp", ".tif", ".tiff", ".avif", ".jp2", ".ppm", ".svg",
)  # fmt: skip
"""The endings of image files, for sources that do not list their images."""

# Pillow refuses a PNG whose text or colour profile unpacks to more than 1 MB; some programs put a whole project there.
PngImagePlugin.MAX_TEXT_CHUNK = max(PngImagePlugin.MAX_TEXT_CHUNK, 16_000_000)

_TURNS = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
"""The operation that turns an image upright, by its EXIF orientation."""


class ContainedImage(Protocol):
    """An image inside a container, such as a tar file; `str` gives its name for messages.

    Implementations are small, frozen and picklable, because worker processes receive them and open the container.
    """

    @property
    def name(self) -> str:
        """The image's name within its container."""

    def read(self) -> bytes:
        """The encoded image; OSError or ImageError if it can't be read."""


ImageSource = Path | ContainedImage


class ImageError(EntryError):
    """One image that can't be used."""


def open_image(source: ImageSource, max_pixels: int = MAX_PIXELS) -> Image.Image:
    """Decode an image to RGB, upright (EXIF orientation) and on white where it is transparent.

    The size is read from the header and checked before anything is decoded. An animation gives its first frame, 16-bit
    greys are scaled to 8 bits (see `depth.eight_bit_greys`), and an SVG file is rendered with `SVG_SIDE` pixels on its
    longer side.

    Raises ImageError if the image is missing, can't be decoded, has more than `max_pixels` pixels, or one side that is
    more than `MAX_RATIO` times the other.
    """
    if _is_svg(source):
        return _render_svg(source)
    try:
        return _decode(source, max_pixels)
    except Image.DecompressionBombError as error:  # Pillow's own limit, which max_pixels does not raise
        raise ImageError(f"image '{source}' is too large ({one_line(error)})", "too large", "shrink it") from error
    except ImageError:
        raise
    except Exception as error:  # what decoders raise on broken or odd files has no common base
        raise _undecodable(source, error) from error


@dataclass(frozen=True)
class ImageHeader:
    """Width and height in pixels, not yet turned upright, and whether the pixels are greys of more than 8 bits."""

    size: tuple[int, int]
    deep_grey: bool


def image_header(source: ImageSource) -> ImageHeader | None:
    """Read an image's header without decoding it; None for a drawing (SVG), which has no pixels.

    Raises ImageError if the image is missing, has no readable header, or has one side that is too long.
    """
    if _is_svg(source):
        return None
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            with Image.open(_opened(source), formats=FORMATS) as image:
                _require_ratio(source, *image.size)
                return ImageHeader(image.size, is_deep_grey(image))
    except ImageError:
        raise
    except Exception as error:
        raise _undecodable(source, error) from error


def sha256_of_image(source: ImageSource) -> str:
    """SHA-256 of the encoded image's bytes; OSError or ImageError if they can't be read."""
    if not isinstance(source, Path):
        return hashlib.sha256(source.read()).hexdigest()
    require_regular(source)
    return sha256_of_file(source)


def _is_svg(source: ImageSource) -> bool:
    """Whether the image is a drawing, by its name. Raises ImageError for a path that is not a file."""
    if isinstance(source, Path):
        try:
            require_regular(source)
        except FileNotFoundError as error:
            problem = f"image '{source}' is not there"
            raise ImageError(problem, "not there", "restore the file or remove its row") from error
        except (OSError, ValueError) as error:  # a ValueError is a path that no file can have
            raise _undecodable(source, error) from error
    return source.name.lower().endswith(".svg")


def _opened(source: ImageSource) -> Path | io.BytesIO:
    return source if isinstance(source, Path) else io.BytesIO(source.read())


def _decode(source: ImageSource, max_pixels: int) -> Image.Image:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # Pillow warns of large and slightly damaged files; the checks here decide
        with Image.open(_opened(source), formats=FORMATS) as image:
            width, height = image.size
            if width * height > max_pixels:
                raise ImageError(
                    f"image '{source}' is too large ({width} x {height} = {width * height:,} pixels; the limit is "
                    f"{max_pixels:,})",
                    "too large",
                    "shrink it, or raise probe.max_pixels",
                )
            _require_ratio(source, width, height)
            deep_colour = has_deep_colour(image)
            decoded = _rgb_on_white(_upright(image), image.format)
    if deep_colour:
        require_visible_colour(decoded)
    return decoded


def _upright(image: Image.Image) -> Image.Image:
    """Turn an image as its EXIF orientation says; without one, or with unreadable EXIF data, it stays as it is.

    Pillow's `exif_transpose` also writes the EXIF data anew, which fails for tags that it can read but not write.
    """
    image.load()
    try:
        turn = _TURNS.get(image.getexif().get(ExifTags.Base.Orientation, 1))
    except Exception:  # decoders may fail on broken tags
        return image
    return image if turn is None else image.transpose(turn)


def _require_ratio(source: ImageSource, width: int, height: int) -> None:
    if max(width, height) > MAX_RATIO * min(width, height):
        raise ImageError(
            f"image '{source}' is {width} x {height} pixels, one side more than {MAX_RATIO} times the other",
            "too long",
            "cut it, or remove its row",
        )


def _undecodable(source: ImageSource, error: Exception) -> ImageError:
    why, advice = one_line(error), "replace it or remove its row"
    if isinstance(source, Path) and is_lfs_pointer(source):
        why, advice = "it is only Git LFS's pointer to a file", "run 'git lfs pull' in its folder"
    elif isinstance(error, UnidentifiedImageError):
        why = f"its format is not one of {', '.join(FORMATS)}, SVG"
    return ImageError(f"image '{source}' can't be decoded ({why})", "can't be decoded", advice)


def _rgb_on_white(image: Image.Image, file_format: str | None) -> Image.Image:
    if is_deep_grey(image):
        image = eight_bit_greys(image, file_format)
    if image.mode == "F":
        raise ValueError("floating-point pixels have no agreed white; convert it to 8 bits")
    if not image.has_transparency_data:
        return image.convert("RGB")
    pixels = image.convert("RGBA")
    return Image.alpha_composite(Image.new("RGBA", pixels.size, "white"), pixels).convert("RGB")


def _render_svg(source: ImageSource) -> Image.Image:
    try:
        return Image.open(io.BytesIO(RENDERERS.png(_drawing(source)))).convert("RGB")
    except ImageError:
        raise
    except Exception as error:
        problem = f"image '{source}' can't be rendered ({one_line(error)})"
        raise ImageError(problem, "can't be decoded", "replace the file or remove its row") from error


def _drawing(source: ImageSource) -> bytes:
    """The bytes of a drawing. Raises ValueError if there are too many."""
    if not isinstance(source, Path):
        content = source.read()
    else:
        with source.open("rb") as file:
            content = file.read(svg.MAX_BYTES + 1)
    if len(content) > svg.MAX_BYTES:
        raise ValueError(f"more than {svg.MAX_BYTES:,} bytes")
    return content
