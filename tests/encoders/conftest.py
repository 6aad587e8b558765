"""Shared by the encoders' tests: photographs and the models' yaml files."""

import importlib.util
import os
import pickle
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import pytest
import torch
import yaml
from PIL import Image

from vlmatch import paths
from vlmatch.configs import choices, yaml_path


@pytest.fixture(scope="session")
def photos() -> list[Image.Image]:
    """Eight crops, 160 x 120, of the two photographs that scikit-learn carries."""
    from sklearn.datasets import load_sample_images

    corners = [(40, 40), (420, 40), (40, 260), (420, 260)]
    return [
        Image.fromarray(photo).crop((x, y, x + 160, y + 120))
        for photo in load_sample_images().images
        for x, y in corners
    ]


@pytest.fixture(params=["damaged.safetensors", "damaged.pth"])
def bad_weights(request, tmp_path) -> Path:
    """A file that is no weights."""
    path = tmp_path / request.param
    path.write_bytes(b"damaged")
    return path


@pytest.fixture(params=["hostile.pth", "older.pt", "newer.bin", "plain.pth"])
def hostile_weights(request, tmp_path) -> Iterator[Path]:
    """A pickle, of each kind that PyTorch files come in, that would run code; afterwards, that it has not run it."""
    path = tmp_path / request.param
    content = {"weight": RunsCode(f"touch {tmp_path}/ran")}
    if path.stem == "plain":
        path.write_bytes(pickle.dumps(content))
    else:
        protocol = 4 if path.stem == "newer" else 2
        torch.save(content, path, pickle_protocol=protocol, _use_new_zipfile_serialization=path.stem != "older")
    yield path
    assert not (tmp_path / "ran").exists()


class RunsCode:
    """Runs a command when it is unpickled."""

    def __init__(self, command: str) -> None:
        self.command = command

    def __reduce__(self) -> tuple:
        return os.system, (self.command,)


def counting() -> ModuleType:
    """The script perf/catalogue.py as a module."""
    spec = importlib.util.spec_from_file_location("counting", paths.root() / "perf" / "catalogue.py")
    module = importlib.util.module_from_spec(spec)
    sys.modules["counting"] = module  # dataclasses look their module up there
    spec.loader.exec_module(module)
    return module


def encoder_configs() -> dict[str, dict]:
    """Every encoder's yaml as a plain dictionary, by name."""
    return {name: yaml.safe_load(yaml_path("encoder", name).read_text()) for name in choices("encoder")}


def prefixed(prefix, state):
    """The tensors under a prefix."""
    return {f"{prefix}{key}": value for key, value in state.items()}
