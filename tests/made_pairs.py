"""Pairs of embeddings that share a part, for the tests of scores."""

import numpy as np


def related(n: int, seed: int = 0, d: int = 14) -> tuple[np.ndarray, np.ndarray]:
    """Images (n, d) and captions (n, 9) that share four hidden directions, off the origin."""
    random = np.random.default_rng(seed)
    hidden = random.normal(size=(n, 4))
    images = hidden @ random.normal(size=(4, d)) + random.normal(size=(n, d)) + 1
    return images, hidden @ random.normal(size=(4, 9)) + random.normal(size=(n, 9)) - 1
