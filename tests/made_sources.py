"""A small source for the split, made of pictures on disk and captions given in the test."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from PIL import Image

from vlmatch_study.split.sources import Candidate


@dataclass(frozen=True)
class MadeSource:
    """A source that is there already."""

    path: str
    name: str
    kind: str
    offered: list[Candidate] = field(default_factory=list)

    def fill(self, folder: Path, staging: Path) -> None:
        """Nothing is fetched."""

    def candidates(self) -> list[Candidate]:
        """What the test gave."""
        return self.offered


def draw(folder: Path, number: int, seed: int = 0) -> list[Path]:
    """Random pictures; every third one is the one before it, a little brighter, so the two look alike."""
    random = np.random.default_rng(seed)
    paths = []
    for index in range(number):
        if index % 3 != 2:
            coarse = Image.fromarray(random.integers(0, 200, (8, 8), dtype=np.uint8))
            pixels = np.asarray(coarse.resize((64, 64), Image.Resampling.BICUBIC))
        paths.append(folder / f"{index:03}.png")
        Image.fromarray(pixels + np.uint8(20 if index % 3 == 2 else 0)).save(paths[-1])
    return paths


def made(folder: Path, name: str, kind: str, rows: Sequence[tuple[str, Path, str | None]]) -> MadeSource:
    """A source of (caption, picture, code point); ids are numbers, and every word counts as known."""
    offered = [
        Candidate(f"{number:04}", image, caption, code_point=point, keywords=caption)
        for number, (caption, image, point) in enumerate(rows)
    ]
    return MadeSource(str(folder), name, kind, offered)
