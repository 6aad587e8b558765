"""The grid feature against means taken by hand, and the control that sees nothing."""

import numpy as np
import pytest
import torch
from PIL import Image

from vlmatch.encoders.controls import Blind, Pixels
from vlmatch.encoders.grids import grid_side, vectors_of
from vlmatch.errors import VlmatchError
from vlmatch.objects import build


def test_a_grid_is_the_means_of_its_cells_row_by_row() -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (4, 4, 3), dtype=np.uint8)
    encoder = Pixels("pixels4", 4, feature="grid2")
    feature = encoder(encoder.prepare(Image.fromarray(pixels))[None])
    cells = (pixels.astype(float) + 1).reshape(2, 2, 2, 2, 3).mean(axis=(1, 3)) / 256
    assert encoder.features_per_image == 4
    assert encoder.rule == "VLM tokens averaged over 2 x 2"
    np.testing.assert_allclose(feature.reshape(4, 3).numpy(), cells.reshape(4, 3), atol=1e-6)


def test_other_features_are_one_an_image() -> None:
    assert Pixels("pixels4", 4).features_per_image == 1
    assert Pixels("pixels4", 4, feature="vlm_input").features_per_image == 1
    assert Pixels("pixels4", 4, feature="mean_patch").features_per_image == 1


@pytest.mark.parametrize("feature", ["grid", "grid0", "grid22", "grid2x", "cls"])
def test_an_unknown_feature_is_refused(feature: str) -> None:
    with pytest.raises(VlmatchError, match="is unknown; choose one of paper, vlm_input, mean_patch, gridK"):
        Pixels("pixels4", 4, feature=feature)


def test_a_map_that_is_not_square_has_no_grid() -> None:
    class Wide(Pixels):
        def tokens(self, images: torch.Tensor) -> torch.Tensor:
            return super().tokens(images)[:, :12]

    encoder = Wide("wide", 4, feature="grid2")
    with pytest.raises(VlmatchError, match=r"feature='grid2' .* square grid.* 12 tokens"):
        encoder(torch.rand(1, 3, 4, 4))


def test_the_blind_control_says_the_same_of_every_image() -> None:
    encoder = build({"_target_": "vlmatch.encoders.controls.Blind", "name": "blind"})
    assert isinstance(encoder, Blind)
    assert encoder.control
    images = torch.stack([encoder.prepare(Image.new("RGB", (9, 9), colour)) for colour in ("red", "blue")])
    assert torch.equal(encoder(images), torch.zeros(2, 1))
    assert encoder.n_parameters() == 0


@pytest.mark.parametrize(("feature", "side", "vectors"), [("grid1", 1, 1), ("grid2", 2, 4), ("grid7", 7, 49)])
def test_the_name_of_a_grid_says_how_many_vectors_it_has(feature: str, side: int, vectors: int) -> None:
    assert (grid_side(feature), vectors_of(feature)) == (side, vectors)


@pytest.mark.parametrize("feature", ["grid", "grid0", "grid2x", "grid22", "grid-1", "GRID2", "paper", ""])
def test_any_other_name_is_no_grid_and_one_vector(feature: str) -> None:
    assert (grid_side(feature), vectors_of(feature)) == (None, 1)
