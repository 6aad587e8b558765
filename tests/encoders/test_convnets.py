"""Convolutional encoders: trunks under other names, and EfficientNet-Lite against the architecture it came with."""

import sys

import pytest
import torch
from hydra.utils import instantiate
from PIL import Image, ImageEnhance, ImageOps
from torchvision.models import resnet18

from encoders.conftest import encoder_configs
from vlmatch.encoders.convnets import EfficientNetLite, TorchvisionEncoder, renamed
from vlmatch.errors import VlmatchError
from vlmatch.packages.package import Package, package_folder

PREPROCESSING = {"size": 64, "resize_to": 72, "mean": [0.5, 0.5, 0.5], "std": [0.5, 0.5, 0.5]}
ALL_BUT_THE_HEAD = [[r"body\.(conv1|bn1|layer\d)\.(.*)", r"\1.\2"]]


@pytest.fixture
def other_names(tmp_path):
    """A resnet18 with its weights saved under the prefix 'body.'."""
    model = resnet18().eval()
    torch.save({f"body.{key}": value for key, value in model.state_dict().items()}, tmp_path / "weights.pth")
    return model, tmp_path / "weights.pth"


def encoder(path, **changes):
    """A resnet18 encoder of the weights at `path`."""
    config = {"architecture": "resnet18", "node": "layer4", "rename": ALL_BUT_THE_HEAD} | changes
    return TorchvisionEncoder("x", preprocessing=PREPROCESSING, checkpoint=str(path), **config)


@torch.inference_mode()
def test_the_feature_is_what_the_library_feeds_its_classifier(other_names, photos):
    model, path = other_names
    ours = encoder(path)
    batch = ours.collate([ours.prepare(photo) for photo in photos[:3]])
    model.fc = torch.nn.Identity()
    torch.testing.assert_close(ours(batch), model(batch), rtol=0, atol=1e-5)
    torch.testing.assert_close(ours(batch[:1]), ours(batch)[:1], rtol=0, atol=1e-4)
    assert ours.tokens(batch).shape == (3, 4, 512)
    assert ours.rule == "global average"
    assert not ours.control
    assert ours.n_parameters() == sum(p.numel() for p in model.parameters())


@torch.inference_mode()
def test_vlm_input_is_the_mean_of_the_tokens(other_names, photos):
    ours = encoder(other_names[1], feature="vlm_input")
    batch = ours.collate([ours.prepare(photos[0])])
    torch.testing.assert_close(ours(batch), ours.tokens(batch).mean(dim=1))
    assert ours.rule == "mean VLM token"


def test_a_rename_that_leaves_out_a_layer_is_refused(other_names):
    with pytest.raises(VlmatchError, match=r"tensors missing, first 'layer4"):
        encoder(other_names[1], rename=[[r"body\.(conv1|bn1|layer[123])\.(.*)", r"\1.\2"]])


def test_unknown_architectures_and_nodes_are_named(other_names):
    with pytest.raises(VlmatchError, match="architecture='resnet19' is unknown"):
        encoder(other_names[1], architecture="resnet19")
    with pytest.raises(VlmatchError, match=r"node='layer5' .*resnet18.* conv1, bn1"):
        encoder(other_names[1], node="layer5")


def test_the_first_pattern_that_fits_a_whole_key_renames_it():
    state = {key: torch.tensor(0) for key in ("a.1", "a.12", "b")}
    assert set(renamed(state, [[r"a\.(\d)", r"x.\1"], [r"a\.(.*)", r"y.\1"]])) == {"x.1", "y.12"}


@pytest.mark.parametrize("number", [0, 2])
@torch.inference_mode()
def test_efficientnet_lite_gives_the_map_of_the_architecture_its_weights_came_with(number, monkeypatch):
    digest = "ce0fe869b0e829aceafc32f84275a40c0e3418d19216401b03f695f5f20cbc41"
    monkeypatch.syspath_prepend(package_folder(Package("efficientnet-lite-pytorch", "0.1.0", digest)))
    from efficientnet_lite_pytorch import EfficientNet

    config = encoder_configs()[f"efficientnet_lite{number}"]
    ours = instantiate(config)
    original = EfficientNet.from_name(f"efficientnet-lite{number}").eval()
    weights = package_folder(Package.of(config["package"])) / config["file"]
    original.load_state_dict(torch.load(weights, weights_only=True))
    size = config["preprocessing"]["size"]
    images = torch.randn(1, 3, size, size, generator=torch.Generator().manual_seed(0))
    torch.testing.assert_close(ours.feature_map(images), original.extract_features(images), rtol=0, atol=1e-5)
    sys.modules.pop("efficientnet_lite_pytorch")


def test_efficientnet_weights_of_another_size_are_refused():
    config = encoder_configs()["efficientnet_lite0"] | {"architecture": "tf_efficientnet_lite2"}
    config.pop("_target_")
    with pytest.raises(VlmatchError, match="do not fit the architecture"):
        EfficientNetLite(**config)


@torch.inference_mode()
def test_a_real_encoder_finds_the_original_of_a_mirrored_and_dimmed_copy(photos):
    ours = instantiate(encoder_configs()["efficientnet_lite0"])

    def features(images: list[Image.Image]) -> torch.Tensor:
        batch = ours.collate([ours.prepare(image) for image in images])
        return torch.nn.functional.normalize(ours(batch), dim=1)

    copies = [ImageEnhance.Brightness(ImageOps.mirror(photo)).enhance(0.7) for photo in photos]
    nearest = (features(copies) @ features(photos).T).argmax(dim=1)
    assert nearest.tolist() == list(range(len(photos)))
