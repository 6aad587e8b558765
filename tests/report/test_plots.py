"""Heat maps: their order puts clusters together, and of many pairs a part is drawn."""

import base64
import io

import numpy as np
import pytest
from PIL import Image

from vlmatch.geometry import Geometry, PairedGeometry
from vlmatch.report import plots


def pair(n: int) -> PairedGeometry:
    """Pairs that belong to two clusters, by images and by captions, four of each in turn."""
    rng = np.random.default_rng(0)
    centres = np.eye(8)[:2][np.arange(n) // 4 % 2]
    images, captions = (Geometry.angular(centres + rng.normal(0, 0.05, (n, 8))) for _ in range(2))
    return PairedGeometry(images, captions)


def bright(address: str) -> np.ndarray:
    picture = Image.open(io.BytesIO(base64.b64decode(address.partition(",")[2])))
    return np.asarray(picture.convert("L"), dtype=float)


def test_many_pairs_are_thinned_out_before_they_are_ordered(monkeypatch: pytest.MonkeyPatch) -> None:
    sizes = []
    ordered = plots.linkage
    monkeypatch.setattr(plots, "MAPPED", 20)
    monkeypatch.setattr(plots, "linkage", lambda flat, rule: sizes.append(len(flat)) or ordered(flat, rule))
    for n, drawn in ((20, 20), (21, 20), (64, 20)):
        for values in map(bright, plots.heat_maps(pair(n))):
            within, across = values[:4, :4].mean(), values[:4, -4:].mean()
            assert within < across / 2
        assert sizes.pop() == drawn * (drawn - 1) // 2
