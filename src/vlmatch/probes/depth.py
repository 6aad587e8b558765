"""Convert 16-bit pixels to 8 bits, also those with 10, 12 or 14-bit values, as scanners and cameras write them."""

from collections.abc import Sequence

import numpy as np
from PIL import Image

DEPTHS = (8, 10, 12, 14, 16)
"""The numbers of bits that scanners and cameras store in 16-bit pixels."""

# Formats whose greys Pillow returns as they are stored. In the others (PPM, JPEG 2000) the file says what is white,
# and Pillow scales by it.
_AS_STORED = ("PNG", "TIFF")


def is_deep_grey(image: Image.Image) -> bool:
    """Whether the pixels are greys of more than 8 bits; the header is enough to tell."""
    return image.mode.startswith("I")


def has_deep_colour(image: Image.Image) -> bool:
    """Whether the file has more than 8 bits per channel; Pillow keeps the upper 8. Call this before it is loaded."""
    if not image.mode.startswith(("RGB", "LA")):
        return False
    arguments = [tile.args for tile in getattr(image, "tile", [])]
    modes = [args if isinstance(args, str) else args[0] for args in arguments if args]
    return any(isinstance(mode, str) and ";16" in mode for mode in modes)


def eight_bit_greys(image: Image.Image, file_format: str | None) -> Image.Image:
    """Scale greys of up to 16 bits to 8; Pillow's own conversion would cut them off at 255.

    The largest number that the format allows becomes white. But a 16-bit PNG or TIFF often holds values of fewer bits:
    white is then the largest number of the smallest of `DEPTHS` that can hold all values. It is not the largest value
    of the image, so that images of one scanner keep most of their brightness relative to each other. The grey that a
    PNG declares transparent becomes white, too.

    Raises ValueError for pixels of 32 bits, and for negative ones.
    """
    values = np.asarray(image).astype(np.int64)
    if values.min() < 0:
        raise ValueError("signed pixels have no agreed black; convert it to 8 bits")
    if values.max() > white_of(16):
        raise ValueError("32-bit pixels have no agreed white; convert it to 8 bits")
    depths = DEPTHS if file_format in _AS_STORED else (16,)
    white = next(white_of(bits) for bits in depths if values.max() <= white_of(bits))
    greys = np.round(values / (white / 255)).astype(np.uint8)
    greys[values == image.info.get("transparency", -1)] = 255
    return Image.fromarray(greys)


def white_of(bits: int) -> int:
    """The largest value that this number of bits can hold."""
    return int(2**bits - 1)


def require_visible_colour(image: Image.Image) -> None:
    """Raise ValueError if 16-bit colours seem to hold 12-bit values; Pillow keeps only the upper 4 of their bits."""
    extremes: Sequence[tuple[int, int]] = image.convert("RGB").getextrema()  # type: ignore[assignment]
    if 0 < max(high for _, high in extremes) <= white_of(12) >> 8:
        raise ValueError(
            "its 16-bit colours are all below 4,096, as 12-bit values are, and would be nearly black; "
            "convert it to 8 bits"
        )
