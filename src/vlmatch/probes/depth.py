"""Bring 16-bit pixels to 8 bits, also those that hold 12-bit values, as medical scanners and cameras write them."""

from collections.abc import Sequence

import numpy as np
from PIL import Image

TWELVE_BITS = 4_095
SIXTEEN_BITS = 65_535

# Formats whose greys Pillow returns as they are stored. In the others (PPM, JPEG 2000) the file says what is white,
# and Pillow scales by it.
_AS_STORED = ("PNG", "TIFF")


def is_deep_grey(image: Image.Image) -> bool:
    """Whether the pixels are greys of more than 8 bits; the header alone tells."""
    return image.mode.startswith("I")


def has_deep_colour(image: Image.Image) -> bool:
    """Whether the file has more than 8 bits a channel, of which Pillow keeps the upper 8; ask before it is loaded."""
    if not image.mode.startswith(("RGB", "LA")):
        return False
    arguments = [tile.args for tile in getattr(image, "tile", [])]
    modes = [args if isinstance(args, str) else args[0] for args in arguments if args]
    return any(isinstance(mode, str) and ";16" in mode for mode in modes)


def eight_bit_greys(image: Image.Image, file_format: str | None) -> Image.Image:
    """Scale greys of 16 bits to 8; Pillow's own conversion would cut them off at 255.

    65,535 becomes white. In a PNG or TIFF without a value above 4,095, 4,095 does, because such greys are almost
    always 12-bit values. The limit is fixed, and not the largest value of each image, so that images of one scanner
    keep their brightness relative to each other.

    Raises ValueError for pixels of 32 bits.
    """
    values = np.asarray(image).astype(np.int64)
    if values.min() < 0 or values.max() > SIXTEEN_BITS:
        raise ValueError("32-bit pixels have no agreed white; convert it to 8 bits")
    twelve = file_format in _AS_STORED and values.max() <= TWELVE_BITS
    white = TWELVE_BITS if twelve else SIXTEEN_BITS
    return Image.fromarray(np.round(values / (white / 255)).astype(np.uint8))


def require_visible_colour(image: Image.Image) -> None:
    """Raise ValueError where 16-bit colours seem to hold 12-bit values, of which Pillow keeps only the upper 4 bits."""
    extremes: Sequence[tuple[int, int]] = image.convert("RGB").getextrema()  # type: ignore[assignment]
    if 0 < max(high for _, high in extremes) <= TWELVE_BITS >> 8:
        raise ValueError(
            f"its 16-bit colours are all below {TWELVE_BITS + 1:,}, as 12-bit values are, and would be nearly black; "
            "convert it to 8 bits"
        )
