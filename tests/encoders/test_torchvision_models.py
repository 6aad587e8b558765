"""torchvision encoders: the enum's transform and file, torch hub's cache, and what is said where there is none."""

import hashlib
from pathlib import Path

import pytest
import torch
from torchvision.models import ResNet18_Weights, resnet18

from vlmatch.encoders.torchvision_models import TorchvisionHubEncoder, entry_weights, weights_entry
from vlmatch.errors import NotHereError, VlmatchError
from vlmatch.packages.availability import HUB

RESNET = {"architecture": "resnet18", "weights": "IMAGENET1K_V1", "node": "layer4"}


class Entry:
    """An entry of a weights enum whose file is at a `file:` address."""

    def __init__(self, path: Path) -> None:
        self.url = path.as_uri()


@pytest.fixture
def cache(tmp_path, monkeypatch) -> Path:
    """An empty torch hub cache, and downloads allowed: the folder of its checkpoints."""
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", False)
    monkeypatch.setattr(torch.hub, "_hub_dir", str(tmp_path / "hub"))
    return tmp_path / "hub" / "checkpoints"


@torch.inference_mode()
def test_weights_come_from_torch_hubs_cache_and_the_transform_from_the_enum(cache, photos):
    torch.manual_seed(0)
    model = resnet18().eval()
    cache.mkdir(parents=True)
    torch.save(model.state_dict(), cache / "resnet18-f37072fd.pth")
    ours = TorchvisionHubEncoder("x", **RESNET)
    transform = ResNet18_Weights.IMAGENET1K_V1.transforms()
    batch = ours.collate([ours.prepare(photo) for photo in photos[:2]])
    assert torch.equal(batch[1], transform(photos[1]))
    model.fc = torch.nn.Identity()
    torch.testing.assert_close(ours(batch), model(batch), rtol=0, atol=1e-5)
    assert ours.tokens(batch).shape == (2, 49, 512)
    assert ours.rule == "global average"
    assert ours.preprocessing == {
        "resize_size": [256],
        "crop_size": [224],
        "mean": list(transform.mean),
        "std": list(transform.std),
        "antialias": True,
        "interpolation": "bilinear",
    }


def test_a_download_lands_in_the_cache_and_must_have_the_sha256_in_its_name(cache, tmp_path):
    content = b"weights"
    digest = hashlib.sha256(content).hexdigest()
    right, wrong = tmp_path / f"model-{digest[:8]}.pth", tmp_path / "model-00000000.pth"
    right.write_bytes(content)
    wrong.write_bytes(content)
    assert entry_weights("x", Entry(right)) == cache / right.name
    assert (cache / right.name).read_bytes() == content
    with pytest.raises(NotHereError, match=r"invalid hash value"):
        entry_weights("x", Entry(wrong))
    assert [path.name for path in cache.iterdir()] == [right.name]


def test_absent_weights_say_what_to_do(cache, tmp_path, monkeypatch):
    with pytest.raises(NotHereError, match=r"'gone-00000000.pth' are not here: .* give encoder.checkpoint="):
        entry_weights("x", Entry(tmp_path / "gone-00000000.pth"))
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    with pytest.raises(NotHereError, match=r"HF_HUB_OFFLINE is set"):
        TorchvisionHubEncoder("x", **RESNET)


def test_an_unknown_architecture_is_named_and_stops_no_list_of_what_is_here(cache):
    cache.mkdir(parents=True)
    (cache / "some.pth").touch()
    with pytest.raises(VlmatchError, match=r"architecture='resnet5' is unknown to torchvision"):
        weights_entry("x", "resnet5", "IMAGENET1K_V1")
    settings = {"name": "x", "architecture": "resnet5", "weights": "IMAGENET1K_V1"}
    assert TorchvisionHubEncoder.availability(settings).status == HUB


def test_unknown_entries_and_weights_of_another_model_are_named(tmp_path, bad_weights):
    with pytest.raises(VlmatchError, match=r"weights='IMAGENET1K_V3' .*resnet18; choose one of IMAGENET1K_V1"):
        TorchvisionHubEncoder("x", **RESNET | {"weights": "IMAGENET1K_V3"})
    torch.save(resnet18().layer1.state_dict(), tmp_path / "part.pth")
    with pytest.raises(VlmatchError, match=r"95 of 120 tensors missing"):
        TorchvisionHubEncoder("x", **RESNET, checkpoint=str(tmp_path / "part.pth"))
    with pytest.raises(VlmatchError, match=r"can't be read"):
        TorchvisionHubEncoder("x", **RESNET, checkpoint=str(bad_weights))
