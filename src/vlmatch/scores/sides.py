"""The geometries of the images and captions in use, kept in memory because each is one side of several rows."""

import os
from collections import OrderedDict
from collections.abc import Iterator
from contextlib import contextmanager

from vlmatch.embeddings.store import Array, sha256_of
from vlmatch.geometry import Geometry
from vlmatch.machine.processes import SWEEP


class RecentSides:
    """The last few geometries of one kind, 'image' or 'text', with all that scores have derived from them."""

    def __init__(self, kind: str, most: int) -> None:
        self.kind, self.most = kind, most
        self._kept: OrderedDict[str, Geometry] = OrderedDict()

    def of(self, array: Array) -> Geometry:
        """The geometry of embeddings (n, d), computed unless it is kept. Raises what `Geometry.angular` raises."""
        key = sha256_of(array)
        if key not in self._kept:
            self._kept[key] = Geometry.angular(array, kind=self.kind)
        self._kept.move_to_end(key)
        while len(self._kept) > self.most:
            self._kept.popitem(last=False)
        return self._kept[key]

    def clear(self) -> None:
        """Free all of them."""
        self._kept.clear()


IMAGES = RecentSides("image", 1)
"""Those of one encoder: sweeps and rankings score it against all LLMs before they go on to the next encoder."""

CAPTIONS = RecentSides("text", 4)
"""Those of several LLMs, because each is needed again for every encoder."""


@contextmanager
def freed() -> Iterator[None]:
    """Free the geometries after the block; in a sweep they stay, because its next job may need them."""
    try:
        yield
    finally:
        if SWEEP not in os.environ:
            IMAGES.clear()
            CAPTIONS.clear()
