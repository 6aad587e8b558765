"""Decoded images of one probe set, kept in memory so that the encoders of a sweep share one decode."""

from threading import Lock

from PIL import Image

from vlmatch.probes.pairs import ProbeSet

LIMIT_BYTES = 400 * 2**20
_BYTES_PER_PIXEL = 4  # Pillow pads RGB to 4 bytes


class DecodedImages:
    """The first images of a probe set that fit into `limit` bytes; the others are decoded again for each request.

    Images of another probe set replace all of them. Safe to use from several threads.
    """

    def __init__(self, limit: int = LIMIT_BYTES) -> None:
        self.limit = limit
        self.bytes = 0
        self._images: dict[int, Image.Image] = {}
        self._probe: tuple[str, int] | None = None
        self._lock = Lock()

    def image(self, probe: ProbeSet, row: int) -> Image.Image:
        """The image of pair `row`, RGB; a copy, which may be changed. Raises as `ProbeSet.image` does."""
        which = (probe.fingerprint, probe.max_pixels)
        with self._lock:
            if which != self._probe:
                self._probe, self._images, self.bytes = which, {}, 0
            kept = self._images.get(row)
        if kept is not None:
            return kept.copy()
        image = probe.image(row)
        self._keep(which, row, image)
        return image

    def _keep(self, which: tuple[str, int], row: int, image: Image.Image) -> None:
        size = image.width * image.height * _BYTES_PER_PIXEL
        with self._lock:
            if which == self._probe and row not in self._images and self.bytes + size <= self.limit:
                self._images[row] = image.copy()
                self.bytes += size


DECODED = DecodedImages()
"""The images of this process."""
