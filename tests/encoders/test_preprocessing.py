"""Preprocessing: equal to the libraries' and the packages' own, on any shape of image."""

import numpy as np
import pytest
import torch
from PIL import Image
from torchvision.models import MobileNet_V2_Weights

from vlmatch.encoders.preprocessing import Preprocessing
from vlmatch.errors import VlmatchError

IMAGENET = {"mean": [0.485, 0.456, 0.406], "std": [0.229, 0.224, 0.225]}


def test_resizing_the_short_side_equals_torchvisions_own_transform_of_its_weights(photos):
    ours = Preprocessing.of("x", {"size": 224, "resize_to": 256, **IMAGENET})
    theirs = MobileNet_V2_Weights.IMAGENET1K_V1.transforms()
    for photo in photos[:2]:
        torch.testing.assert_close(ours(photo), theirs(photo), rtol=0, atol=1e-6)


def test_bicubic_resizing_equals_timms_transform(photos):
    from timm.data import create_transform

    half = {"mean": [127 / 255] * 3, "std": [128 / 255] * 3}
    ours = Preprocessing.of("x", {"size": 224, "resize_to": 256, "interpolation": "bicubic", **half})
    theirs = create_transform(input_size=(3, 224, 224), interpolation="bicubic", crop_pct=0.875, **half)
    torch.testing.assert_close(ours(photos[0]), theirs(photos[0]), rtol=0, atol=1e-6)


def test_squashed_bgr_equals_open_nsfws_arithmetic(photos):
    config = {"size": 224, "resize_to": 256, "resize": "squash", "channels": "bgr", "value_range": 255}
    ours = Preprocessing.of("x", {**config, "mean": [104, 117, 123], "std": [1, 1, 1]})(photos[0])
    resized = photos[0].resize((256, 256), Image.Resampling.BILINEAR).crop((16, 16, 240, 240))
    theirs = np.asarray(resized, dtype=np.float32)[:, :, ::-1] - np.array([104, 117, 123], dtype=np.float32)
    np.testing.assert_allclose(ours.permute(1, 2, 0).numpy(), theirs, atol=1e-4)


@pytest.mark.parametrize("channels", ["rgb", "bgr"])
def test_padding_keeps_the_whole_image_between_bars_of_the_mean_colour(channels):
    mean = IMAGENET["mean"] if channels == "rgb" else IMAGENET["mean"][::-1]
    config = {"size": 64, "resize_to": 64, "resize": "pad", "channels": channels, "mean": mean, "std": [1, 1, 1]}
    prepared = Preprocessing.of("x", config)(Image.new("RGB", (128, 64), "white"))
    assert prepared[:, :16].abs().max() < 1 / 255
    assert prepared[:, 48:].abs().max() < 1 / 255
    torch.testing.assert_close(prepared[:, 16:48], (1 - torch.tensor(mean)).view(3, 1, 1).expand(3, 32, 64))


@pytest.mark.parametrize("resize", ["short", "squash", "pad"])
@pytest.mark.parametrize("size", [(1, 1), (3, 500), (500, 3)])
def test_any_shape_of_image_becomes_the_models_square(resize, size):
    prepare = Preprocessing.of("x", {"size": 24, "resize_to": 32, "resize": resize, **IMAGENET})
    assert prepare(Image.new("RGB", size)).shape == (3, 24, 24)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"resise": "short"}, "'resise' is unknown or missing"),
        ({"resize": "crop"}, "preprocessing.resize='crop' is unknown; choose one of short, squash, pad"),
        ({"value_range": 100}, "choose one of 1, 255"),
        ({"size": 300}, "size <= resize_to"),
        ({"mean": [0.5]}, "3 means"),
    ],
)
def test_a_wrong_value_is_named(change, message):
    with pytest.raises(VlmatchError, match=rf"encoder 'x': .*{message}"):
        Preprocessing.of("x", {"size": 224, "resize_to": 256, **IMAGENET} | change)


def test_a_missing_value_is_named():
    with pytest.raises(VlmatchError, match="'std' is unknown or missing"):
        Preprocessing.of("x", {"size": 224, "resize_to": 256, "mean": [0, 0, 0]})
