"""Networks for faces: equal to the published code they follow, on random weights."""

import json

import numpy as np
import pytest
import torch
from torch.nn.functional import avg_pool2d, conv2d, max_pool2d, pad, prelu

from vlmatch.encoders.face_networks import DLIB_BLOCKS, DlibResNet, MtcnnOutputNetwork
from vlmatch.errors import VlmatchError


def preprocessing(size):
    return {"size": size, "resize_to": size, "resize": "squash", "mean": [0.5, 0.5, 0.5], "std": [0.5, 0.5, 0.5]}


@pytest.fixture(scope="module")
def dlib_weights():
    """Random weights of dlib's ResNet under face-api.js' names, kernels as (h, w, in, out)."""
    rng, shapes, before = np.random.default_rng(0), {"conv32_down": (7, 3, 32)}, 32
    for block, width, _ in DLIB_BLOCKS:
        shapes |= {f"{block}/conv1": (3, before, width), f"{block}/conv2": (3, width, width)}
        before = width
    weights = {"fc": rng.normal(size=(256, 128))}
    for place, (side, of, width) in shapes.items():
        weights[f"{place}/conv/filters"] = rng.normal(size=(side, side, of, width)) / (side * of**0.5)
        weights[f"{place}/conv/bias"] = rng.normal(size=width)
        weights[f"{place}/scale/weights"] = rng.uniform(0.5, 1.5, size=width)
        weights[f"{place}/scale/biases"] = rng.normal(size=width)
    return {name: array.astype(np.float32) for name, array in weights.items()}


@torch.inference_mode()
def test_dlibs_resnet_computes_what_face_api_says(tmp_path, dlib_weights, photos):
    entries = [{"name": name, "shape": list(array.shape), "dtype": "float32"} for name, array in dlib_weights.items()]
    manifest = tmp_path / "weights_manifest.json"
    manifest.write_text(json.dumps([{"paths": ["model.bin"], "weights": entries}]))
    (tmp_path / "model.bin").write_bytes(b"".join(array.tobytes() for array in dlib_weights.values()))
    ours = DlibResNet("x", preprocessing=preprocessing(150), checkpoint=str(manifest))
    batch = ours.collate([ours.prepare(photo) for photo in photos[:2]])
    expected = face_recognition_net(batch, dlib_weights)
    torch.testing.assert_close(ours.feature_map(batch), expected, rtol=1e-3, atol=1e-3)
    torch.testing.assert_close(ours(batch), expected.mean(dim=(2, 3)), rtol=1e-3, atol=1e-3)
    assert ours.tokens(batch).shape == (2, 4, 256)


def face_recognition_net(maps, weights):
    """FaceRecognitionNet.ts and residualLayer.ts of face-api.js in torch, with the scales apart."""

    def convolved(maps, place, stride, padding):
        kernel, bias, scale, shift = (
            torch.from_numpy(weights[f"{place}/{part}"])
            for part in ("conv/filters", "conv/bias", "scale/weights", "scale/biases")
        )
        found = conv2d(maps, kernel.permute(3, 2, 0, 1), bias, stride=stride, padding=padding)
        return found * scale[:, None, None] + shift[:, None, None]

    maps = max_pool2d(convolved(maps, "conv32_down", 2, 0).relu(), 3, 2)
    for block, _, halves in DLIB_BLOCKS:
        inner = convolved(maps, f"{block}/conv1", 2 if halves else 1, 0 if halves else 1).relu()
        inner = convolved(inner, f"{block}/conv2", 1, 1)
        if halves:
            maps = avg_pool2d(maps, 2)
            if maps.shape[2] != inner.shape[2]:
                inner = pad(inner, (0, 1, 0, 1))
            if maps.shape[1] != inner.shape[1]:
                maps = torch.cat([maps, torch.zeros_like(maps)], dim=1)
        maps = (maps + inner).relu()
    return maps


@torch.inference_mode()
def test_mtcnns_output_network_is_its_convolutions_and_pools(tmp_path, photos):
    shapes = {1: (32, 3, 3), 2: (64, 32, 3), 3: (64, 64, 3), 4: (128, 64, 2)}
    state = {"features.conv5.weight": torch.randn(256, 1152), "conv6_1.bias": torch.randn(2)}
    for number, (after, before, side) in shapes.items():
        state[f"features.conv{number}.weight"] = torch.randn(after, before, side, side) / (side * before**0.5)
        state[f"features.conv{number}.bias"] = torch.randn(after)
        state[f"features.prelu{number}.weight"] = torch.rand(after)
    torch.save(state, tmp_path / "onet.pt")
    ours = MtcnnOutputNetwork("x", preprocessing=preprocessing(48), checkpoint=str(tmp_path / "onet.pt"))
    batch = maps = ours.collate([ours.prepare(photo) for photo in photos[:2]])
    for number, pool in ((1, 3), (2, 3), (3, 2), (4, None)):
        maps = conv2d(maps, state[f"features.conv{number}.weight"], state[f"features.conv{number}.bias"])
        maps = prelu(maps, state[f"features.prelu{number}.weight"])
        maps = max_pool2d(maps, pool, 2, ceil_mode=True) if pool else maps
    torch.testing.assert_close(ours.feature_map(batch), maps, rtol=1e-4, atol=1e-4)
    assert ours.tokens(batch).shape == (2, 9, 128)
    torch.save({"features.conv1.weight": state["features.conv1.weight"]}, tmp_path / "onet.pt")
    with pytest.raises(VlmatchError, match="do not fit the architecture"):
        MtcnnOutputNetwork("x", preprocessing=preprocessing(48), checkpoint=str(tmp_path / "onet.pt"))
