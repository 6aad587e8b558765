"""Controls: deterministic, marked as controls, and what they say they are."""

import subprocess
import sys

import numpy as np
import pytest
import torch
from hydra.utils import instantiate
from PIL import Image

from encoders.conftest import encoder_configs
from vlmatch.encoders.controls import Pixels
from vlmatch.errors import VlmatchError


@torch.inference_mode()
def test_the_random_network_is_the_same_in_another_process_and_leaves_the_generator_alone():
    torch.manual_seed(7)
    state = torch.random.get_rng_state()
    ours = instantiate(encoder_configs()["random_resnet18"])
    assert torch.equal(torch.random.get_rng_state(), state)
    config = {key: value for key, value in encoder_configs()["random_resnet18"].items() if key != "_target_"}
    script = f"from vlmatch.encoders.controls import RandomConvnet; print(RandomConvnet(**{config}).weights_sha256)"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == ours.weights_sha256
    assert ours.control


def test_another_seed_gives_other_weights():
    config = encoder_configs()["random_resnet18"]
    assert instantiate(config).weights_sha256 != instantiate(config | {"seed": 1}).weights_sha256


def test_mean_colour_is_the_mean_of_the_pixels(photos):
    ours = instantiate(encoder_configs()["mean_colour"])
    feature = ours(ours.collate([ours.prepare(photos[0])]))[0]
    expected = np.asarray(photos[0], dtype=float).mean(axis=(0, 1)) / 255
    np.testing.assert_allclose(feature.numpy(), expected, atol=1 / 255)
    assert ours.control
    assert ours.rule == "mean colour"
    assert ours.weights_sha256 is None
    assert ours.n_parameters() == 0


def test_pixels_are_the_pixels_of_the_reduced_image(photos):
    ours = instantiate(encoder_configs()["pixels16"])
    batch = ours.collate([ours.prepare(photo) for photo in photos[:2]])
    reduced = np.asarray(photos[1].resize((16, 16), Image.Resampling.BOX), dtype=np.float32)
    reduced = (reduced + 1) / 256
    np.testing.assert_allclose(ours.tokens(batch)[1].numpy(), reduced.reshape(256, 3), atol=1e-6)
    np.testing.assert_allclose(ours(batch)[1].reshape(3, 16, 16).permute(1, 2, 0).numpy(), reduced, atol=1e-6)


@pytest.mark.parametrize("feature", ["vlm_input", "mean_patch"])
def test_pixels_are_never_averaged_to_the_mean_colour(photos, feature):
    ours = instantiate(encoder_configs()["pixels16"])
    averaging = instantiate(encoder_configs()["pixels16"] | {"feature": feature})
    batch = ours.collate([ours.prepare(photo) for photo in photos[:2]])
    assert torch.equal(averaging(batch), ours(batch))
    assert averaging.rule == "pixels"
    cells = instantiate(encoder_configs()["pixels16"] | {"feature": "grid2"})
    assert cells(batch).shape == (2, 4 * 3)


def test_pixels_have_no_layers():
    ours = instantiate(encoder_configs()["pixels16"] | {"layer": 1})
    with pytest.raises(VlmatchError, match="no layers to choose from"):
        ours(torch.ones(1, 3, 16, 16))


def test_a_black_image_has_a_direction():
    ours = instantiate(encoder_configs()["mean_colour"])
    assert ours(ours.collate([ours.prepare(Image.new("RGB", (9, 9)))])).norm() > 0


def test_no_pixels_are_refused():
    with pytest.raises(VlmatchError, match="encoder 'x': size=0"):
        Pixels("x", 0)
