"""Groups that must stay together in a split: connected components of equal concepts and similar pictures."""

import hashlib
from collections.abc import Collection, Sequence

import numpy as np

from vlmatch.probes.perceptual import clusters


def components(keys: Sequence[Collection[str]], hashes: Sequence[int], distance: int) -> list[int]:
    """The component of each item: items are joined if they share a key, or if their hashes fall into one cluster.

    distance: bits that two hashes of a cluster may differ in.
    """
    from scipy.sparse import coo_array
    from scipy.sparse.csgraph import connected_components

    nodes: dict[str, int] = {}
    ends = [
        (item, nodes.setdefault(name, len(nodes)))
        for item, (names, cluster) in enumerate(zip(keys, clusters(hashes, distance), strict=True))
        for name in (*(f"key {key}" for key in names), f"cluster {cluster}")
    ]
    n_items = len(keys)
    rows, columns = np.array(ends, dtype=np.int64).reshape(-1, 2).T
    size = n_items + len(nodes)
    graph = coo_array((np.ones(len(ends), dtype=np.int8), (rows, n_items + columns)), shape=(size, size))
    _, labels = connected_components(graph, directed=False)
    return [int(label) for label in labels[:n_items]]


def position(keys: Collection[str], seed: int) -> float:
    """A number in [0, 1) that depends on the seed and on one of the component's keys: the one with the least hash.

    So a further key changes the number only if its own hash is less.
    """
    key = min(keys, key=lambda name: _digest(f"{seed} key {name}"))
    return int.from_bytes(_digest(f"{seed} position {key}")[:6]) / 2**48


def _digest(text: str) -> bytes:
    return hashlib.sha256(text.encode()).digest()
