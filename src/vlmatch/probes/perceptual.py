"""Find images that look alike: a 64-bit perceptual hash of each, and clusters of hashes that differ in few bits."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from PIL import Image

BITS = 64

_PAIRS_AT_ONCE = 4_000_000


def perceptual_hash(image: Image.Image) -> int:
    """A hash 0 <= h < 2**64: each bit tells whether one of the 8 x 8 lowest frequencies is above their median.

    This is pHash of the imagehash library: a discrete cosine transform of the image in 32 x 32 greys. Rescaled or
    recompressed copies differ in a few bits, unrelated images in about 32. All images of a single colour except black
    have the same hash.
    """
    import imagehash

    return int(str(imagehash.phash(image)), 16)


def clusters(hashes: Sequence[int], distance: int) -> list[int]:
    """The cluster of each of n hashes, numbered from 0 by first appearance.

    Two hashes are joined if they differ in at most `distance` bits. A cluster is a connected component, so two of its
    members may differ in more bits. Time O(n^2), about a second for 15,000 hashes; memory O(n).
    """
    from scipy.sparse import coo_array
    from scipy.sparse.csgraph import connected_components

    distinct, places = np.unique(np.array(hashes, dtype=np.uint64), return_inverse=True)
    size = len(distinct)
    labels: NDArray[np.integer] = np.arange(size)
    step = max(1, _PAIRS_AT_ONCE // max(1, size))
    for start in range(0, size, step):
        differing = np.bitwise_count(distinct[start : start + step, None] ^ distinct)
        rows, columns = np.nonzero(differing <= distance)
        ends = labels[rows + start], labels[columns]
        graph = coo_array((np.ones(len(rows), dtype=np.int8), ends), shape=(size, size))
        labels = connected_components(graph, directed=False)[1][labels]
    numbers: dict[int, int] = {}
    return [numbers.setdefault(int(label), len(numbers)) for label in labels[places]]
