"""`task=pretrain` from a config to a folder that its encoder's yaml loads."""

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from omegaconf import DictConfig
from PIL import Image

from vlmatch.cli import run_task
from vlmatch.configs import composed
from vlmatch.errors import VlmatchError
from vlmatch.objects import admitted, build, plain


def config(*overrides: str) -> DictConfig:
    return composed("task=pretrain", *overrides)


@pytest.fixture
def overrides(tmp_path: Path) -> Iterator[list[str]]:
    """A made-up split, and everything written below `tmp_path`."""
    (tmp_path / "drawn").mkdir()
    with admitted("study.pretraining."):
        yield [
            f"store={tmp_path / 'store'}",
            f"task.weights={tmp_path / 'weights'}",
            "~split",
            f"+split={{_target_: study.pretraining.made_data.made_split, folder: {tmp_path / 'drawn'}}}",
        ]


def test_a_training_ends_in_weights_that_its_yaml_loads(overrides: list[str], tmp_path: Path) -> None:
    name = "category_resnet_emoji"
    with torch.random.fork_rng(devices=[]):
        run_task(config(*overrides, f"pretrain={name}", "pretrain.image_size=32", "pretrain.epochs=2"))

    card = json.loads((tmp_path / "weights" / name / "card.json").read_text())
    assert card["sources"] == ["emoji_google"]
    assert card["n_training"] + card["n_held_out"] == 12
    assert {"accuracy", "accuracy_chance", "neighbours"} <= set(card["measures"])
    assert name in (tmp_path / "weights" / "README.md").read_text()
    assert not list((tmp_path / "store" / "pretraining").iterdir())  # no checkpoint is left behind

    settings = plain(config(f"encoder={name}").encoder)
    settings |= {"checkpoint": str(tmp_path / "weights" / name / "model.safetensors"), "sha256": card["sha256"]}
    encoder = build(settings)
    assert encoder.weights_sha256 == card["sha256"]
    with torch.inference_mode():
        assert encoder(encoder.prepare(Image.new("RGB", (30, 40), "red"))[None]).shape == (1, 256)


def test_without_a_name_the_names_are_listed() -> None:
    with pytest.raises(VlmatchError, match=r"pretrain=null.*autoencoder_resnet_both"):
        run_task(config())


def test_openmoji_is_refused_from_the_command_line_too(overrides: list[str]) -> None:
    with pytest.raises(VlmatchError, match=r"pretrain\.sources=.*openmoji"):
        run_task(config(*overrides, "pretrain=category_resnet_emoji", "pretrain.sources=[openmoji]"))
