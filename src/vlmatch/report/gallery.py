"""The gallery: small pictures of some pairs with their captions, as values that a page shows without further files."""

import base64
import io
from collections.abc import Iterable
from dataclasses import dataclass

from PIL import Image

from vlmatch.disagreement import FittingPair
from vlmatch.probes.images import ImageError
from vlmatch.probes.pairs import ProbeSet

SIDE = 96
"""The longest side of a thumbnail in pixels."""

QUALITY = 70
"""The quality of WebP, which every browser since 2020 shows; a thumbnail has 1 to 4 KB."""


@dataclass(frozen=True)
class GalleryPair:
    """One pair to show. Its text is as in the probe, not escaped.

    image: a data URI (WebP). width, height: its size in pixels. If the image can't be read any more, these are None and
    0, and `problem` says why. share: the pair's share of the disagreement. times_mean: the same as a multiple of the
    mean pair's. Both are None if only indices were given.
    """

    index: int
    id: str
    caption: str
    label: str | None
    image: str | None
    width: int
    height: int
    share: float | None = None
    times_mean: float | None = None
    problem: str | None = None


def gallery(probe: ProbeSet, pairs: Iterable[int | FittingPair], side: int = SIDE) -> tuple[GalleryPair, ...]:
    """Thumbnails and captions of these pairs, in their order.

    probe: the probe itself, whose size limits apply. pairs: indices, or what `Disagreement.worst` and `.best` give.
    side: the longest side in pixels; smaller images keep their size. An image that can't be read leaves its place
    empty.
    """
    return tuple(_shown(probe, pair, side) for pair in pairs)


def thumbnail(image: Image.Image, side: int = SIDE) -> tuple[str, int, int]:
    """An RGB image as a WebP data URI with its width and height, at most `side` pixels each."""
    small = image.copy()
    small.thumbnail((side, side))
    encoded = io.BytesIO()
    small.save(encoded, format="WEBP", quality=QUALITY, icc_profile=b"")  # profiles can be larger than the picture
    return "data:image/webp;base64," + base64.b64encode(encoded.getvalue()).decode(), small.width, small.height


def _shown(probe: ProbeSet, pair: int | FittingPair, side: int) -> GalleryPair:
    index = pair if isinstance(pair, int) else pair.index
    share, times_mean = (None, None) if isinstance(pair, int) else (pair.share, pair.times_mean)
    of = probe.pairs[index]
    image, width, height, problem = None, 0, 0, None
    try:
        image, width, height = thumbnail(probe.image(index), side)
    except ImageError as error:
        problem = str(error)
    return GalleryPair(index, of.id, of.caption, of.label, image, width, height, share, times_mean, problem)
