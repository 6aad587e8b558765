"""A working folder with pictures, a cache of its own, and two models made of functions."""

from pathlib import Path

import numpy as np
import pytest

import vlmatch
from vlmatch.embeddings.own import OwnModel


@pytest.fixture
def here(picture_folder: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The working folder: it holds `pictures/`, and the cache."""
    monkeypatch.chdir(picture_folder.parent)
    monkeypatch.setenv("VLMATCH_CACHE", str(picture_folder.parent / "cache"))
    return picture_folder.parent


@pytest.fixture
def my_encoder() -> OwnModel:
    """The 4 x 4 pixels of an image."""
    return vlmatch.own_encoder(
        "mine", lambda image: np.asarray(image.resize((4, 4))) / 255.0, lambda batch: batch.flatten(1)
    )


@pytest.fixture
def my_llm() -> OwnModel:
    """Which letters a caption has; it is stored."""
    letters = "abcdeglnoprtu"
    return vlmatch.own_llm(
        "letters", str.lower, lambda texts: [[float(c in text) for c in letters] for text in texts], version="1"
    )
