"""What is kept: half precision, cards, the README, and the weights that are committed."""

from pathlib import Path
from typing import Any

import pytest
import torch
from PIL import Image
from safetensors.torch import load_file

from vlmatch import paths
from vlmatch.configs import choices, chosen, composed, yaml_path
from vlmatch.errors import VlmatchError
from vlmatch.files import sha256_of_file
from vlmatch.objects import build, plain
from vlmatch_study.pretraining.data import LICENCES
from vlmatch_study.pretraining.kept import CARD, LARGEST, Card, cards, keep, readme, size_of, weights_in, write_halves

WEIGHTS = paths.root() / "study" / "weights"
NAMES = sorted(path.parent.name for path in WEIGHTS.glob(f"*/{CARD}"))
VALUES: dict[str, Any] = {
    "about": "made up",
    "sources": ("clipart",),
    "n_training": 12,
    "n_held_out": 3,
    "split": "0" * 64,
    "seed": 0,
    "epochs": 2,
    "loss": 1.5,
    "seconds": 3.0,
    "measures": {"zero_shot": 0.5, "zero_shot_chance": 0.25},
    "parameters": 6,
}


def made(folder: Path, name: str = "made_up") -> Card:
    folder.mkdir()
    write_halves(folder / "model.safetensors", {"a": torch.randn(2, 3), "steps": torch.tensor(70_000)})
    digest = sha256_of_file(weights_in(folder))
    return Card(name=name, bytes=size_of(folder), sha256=digest, **VALUES)


def recipe_of(name: str) -> Any:
    return composed("task=pretrain", f"pretrain={name}").pretrain


def test_floats_are_halved_and_counts_are_not(tmp_path: Path) -> None:
    made(tmp_path / "made")
    state = load_file(tmp_path / "made" / "model.safetensors")
    assert state["a"].dtype == torch.float16
    assert int(state["steps"]) == 70_000


@pytest.mark.parametrize("value", [1e6, float("nan")])
def test_a_number_that_half_precision_cannot_hold_is_refused(tmp_path: Path, value: float) -> None:
    with pytest.raises(VlmatchError, match=r"'w'.*half precision"):
        write_halves(tmp_path / "model.safetensors", {"w": torch.tensor([value])})


def test_too_large_a_folder_is_refused(tmp_path: Path) -> None:
    (tmp_path / "big").write_bytes(b"0" * (LARGEST + 1))
    with pytest.raises(VlmatchError, match=r"5,000,001 bytes.*5,000,000"):
        size_of(tmp_path)


def test_a_kept_encoder_replaces_the_one_before_and_is_listed(tmp_path: Path) -> None:
    weights = tmp_path / "weights"
    (weights / "made_up").mkdir(parents=True)
    (weights / "made_up" / "stale").write_text("of an earlier training")
    card = made(tmp_path / "staging")

    keep(tmp_path / "staging", weights / "made_up", card)

    assert cards(weights) == [card]
    assert sorted(path.name for path in (weights / "made_up").iterdir()) == [CARD, "model.safetensors"]
    readme = (weights / "README.md").read_text()
    assert "| made_up | made up | clipart | 12 | 2 | 3 | 1.500 |" in readme
    assert "| made_up | 3 | 0.500 (0.250) | - |" in readme
    assert f"{card.sha256}  made_up/model.safetensors" in readme
    assert LICENCES["clipart"] in readme


def test_the_committed_page_is_the_one_that_training_writes() -> None:
    assert (WEIGHTS / "README.md").read_text() == readme(WEIGHTS)


@pytest.mark.parametrize("name", NAMES)
def test_committed_weights_are_what_their_card_and_yaml_say(name: str) -> None:
    folder = WEIGHTS / name
    card = next(card for card in cards(WEIGHTS) if card.name == name)
    settings, recipe = chosen("encoder", name), recipe_of(name)

    assert sha256_of_file(weights_in(folder)) == card.sha256
    assert settings.get("sha256", card.sha256) == card.sha256
    assert size_of(folder) <= LARGEST
    assert set(card.sources) <= set(LICENCES)
    assert (list(card.sources), card.seed, card.epochs) == (recipe.sources, recipe.seed, recipe.epochs)
    assert card.sha256 in (WEIGHTS / "README.md").read_text()
    floats = [value for value in load_file(weights_in(folder)).values() if value.is_floating_point()]
    assert {value.dtype for value in floats} == {torch.float16}


@pytest.mark.parametrize("name", NAMES)
def test_committed_weights_load_and_tell_images_apart(name: str) -> None:
    settings = plain(chosen("encoder", name))
    if "parts" in settings:
        settings["parts"] = []  # the backbone is a package's
    encoder = build(settings)
    if "parts" in settings:
        features = encoder.combine([torch.randn(2, len(encoder.mean), generator=torch.Generator().manual_seed(0))])
    else:
        pictures = [Image.new("RGB", (50, 30), colour) for colour in ("red", "blue")]
        with torch.inference_mode():
            features = encoder(encoder.collate([encoder.prepare(picture) for picture in pictures]))
    assert features.shape[0] == 2
    assert torch.isfinite(features).all()
    assert not torch.allclose(features[0], features[1], rtol=1e-2)


def test_every_recipe_of_an_encoder_has_the_encoders_yaml_beside_it() -> None:
    for name in choices("pretrain"):
        first, second, *_ = yaml_path("encoder", name).read_text().splitlines()
        assert first.startswith("# Trained here: ")
        assert second == f"# Made by: python src/run.py task=pretrain pretrain={name}"
        assert recipe_of(name).name == chosen("encoder", name).name == name
