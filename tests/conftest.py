"""Shared by all tests: one place for downloads, and small real data."""

import os

os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
os.environ.setdefault("HF_HUB_OFFLINE", "1")  # no test may reach for a hub

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageDraw

from vlmatch.probes.folder import folder
from vlmatch.probes.pairs import ProbeSet

COLOURS = ("red", "green", "blue", "orange", "purple", "black")
SHAPES = ("ellipse", "rectangle")


@pytest.fixture(scope="module", autouse=True)
def no_server() -> Iterator[None]:
    """Lightning's MLflow logger puts its database into the environment, where the next module would find it."""
    os.environ.pop("MLFLOW_TRACKING_URI", None)
    yield
    os.environ.pop("MLFLOW_TRACKING_URI", None)


@pytest.fixture
def picture_folder(tmp_path: Path) -> Path:
    """Twelve drawn pictures with captions.csv: every colour as an ellipse and as a rectangle."""
    folder = tmp_path / "pictures"
    folder.mkdir()
    lines = ["image,caption"]
    for colour in COLOURS:
        for shape in SHAPES:
            picture = Image.new("RGB", (40, 32), "white")
            getattr(ImageDraw.Draw(picture), shape)((6, 6, 30, 24), fill=colour)
            picture.save(folder / f"{colour}_{shape}.png")
            lines.append(f"{colour}_{shape}.png,A {colour} {shape}.")
    (folder / "captions.csv").write_text("\n".join(lines) + "\n")
    return folder


@pytest.fixture
def pictures(picture_folder: Path) -> ProbeSet:
    """The twelve pictures as a probe set."""
    return folder(picture_folder, "pictures")


@pytest.fixture
def random() -> np.random.Generator:
    """A seeded generator."""
    return np.random.default_rng(0)
