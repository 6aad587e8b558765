"""Keras weights: read from HDF5 and TensorFlow.js without Keras, laid out as PyTorch wants them, matched in order."""

import base64
import json

import h5py
import numpy as np
import pytest
import torch
from hydra.utils import instantiate
from scipy.signal import correlate

from encoders.conftest import encoder_configs
from vlmatch.encoders.keras_convnets import MeanWithoutPadding, in_order
from vlmatch.encoders.keras_weights import read_keras
from vlmatch.errors import VlmatchError
from vlmatch.packages.package import Package, package_folder

RANDOM = np.random.default_rng(0)
KERNEL = RANDOM.normal(size=(3, 3, 2, 4)).astype(np.float32)
DEPTHWISE = RANDOM.normal(size=(3, 3, 4, 1)).astype(np.float32)
DENSE = RANDOM.normal(size=(4, 5)).astype(np.float32)


def quantised(array):
    """Bytes, minimum and scale, as TensorFlow.js stores a weight."""
    low, scale = float(array.min()), float(array.max() - array.min()) / 255
    return np.round((array - low) / scale).astype(np.uint8), low, scale


@pytest.fixture
def tfjs(tmp_path):
    """A TensorFlow.js model of three weights in two shards."""
    entries, data = [], b""
    for name, array in (("a/kernel", KERNEL), ("b/depthwise_kernel", DEPTHWISE), ("c/kernel", DENSE)):
        values, low, scale = quantised(array)
        shape = ",".join(map(str, array.shape))
        how = f'quantization:{{min:{low!r},scale:{scale!r},dtype:"uint8"}}'
        entries.append(f'{{name:"{name}",shape:[{shape}],dtype:"float32",{how}}}')
        data += values.tobytes()
    halves = data[:50], data[50:]
    for number, half in enumerate(halves, 1):
        encoded = base64.b64encode(half).decode()
        (tmp_path / f"shard{number}.min.js").write_text(f'!function(){{x.exports="{encoded}"}}')
    manifest = f'weightsManifest:[{{paths:["shard1","shard2"],weights:[{",".join(entries)}]}}]'
    script = tmp_path / "model.min.js"
    script.write_text(f"!function(){{x.exports={{modelTopology:{{}},{manifest}}}}}")
    return script


def test_tfjs_bytes_become_the_weights_within_half_a_step_in_pytorchs_layout(tfjs):
    read = read_keras("e", tfjs)
    expected = {
        "a/kernel": KERNEL.transpose(3, 2, 0, 1),
        "b/depthwise_kernel": DEPTHWISE.transpose(2, 3, 0, 1),
        "c/kernel": DENSE.T,
    }
    assert read.keys() == expected.keys()
    for key, array in expected.items():
        step = float(array.max() - array.min()) / 255
        np.testing.assert_allclose(read[key].numpy(), array, atol=0.51 * step)


def test_a_manifest_in_json_gives_quantised_and_plain_weights_from_its_shards(tmp_path):
    values, low, scale = quantised(KERNEL)
    how = {"quantization": {"dtype": "uint8", "min": low, "scale": scale}}
    entries = [
        {"name": "a/kernel", "shape": list(KERNEL.shape), "dtype": "float32", **how},
        {"name": "c/kernel", "shape": list(DENSE.shape), "dtype": "float32"},
    ]
    manifest, data = tmp_path / "manifest.json", values.tobytes() + DENSE.tobytes()
    manifest.write_text(json.dumps([{"paths": ["1.bin", "2.bin"], "weights": entries}]))
    (tmp_path / "1.bin").write_bytes(data[:40])
    (tmp_path / "2.bin").write_bytes(data[40:])
    read = read_keras("e", manifest)
    np.testing.assert_allclose(read["a/kernel"].numpy(), KERNEL.transpose(3, 2, 0, 1), atol=0.51 * scale)
    np.testing.assert_array_equal(read["c/kernel"].numpy(), DENSE.T)
    for damage in ("[1]", "[{}]", "{"):
        manifest.write_text(damage)
        with pytest.raises(VlmatchError, match="can't be read as Keras weights"):
            read_keras("e", manifest)


def test_hdf5_kernels_convolve_as_a_convolution_over_channels_last_does(tmp_path):
    with h5py.File(tmp_path / "w.h5", "w") as file:
        file["layer/kernel"] = KERNEL
        file["note"] = "not a weight"
    read = read_keras("e", tmp_path / "w.h5")
    assert set(read) == {"layer/kernel"}
    image = RANDOM.normal(size=(8, 9, 2)).astype(np.float32)
    ours = torch.nn.functional.conv2d(torch.from_numpy(image.transpose(2, 0, 1))[None], read["layer/kernel"])[0]
    by_scipy = [sum(correlate(image[..., c], KERNEL[..., c, k], "valid") for c in range(2)) for k in range(4)]
    np.testing.assert_allclose(ours.numpy(), np.stack(by_scipy), rtol=1e-4, atol=1e-4)


def test_a_missing_or_short_shard_is_refused_in_one_line(tfjs):
    shard = tfjs.with_name("shard2.min.js")
    shard.write_text('x.exports="AAAA"')
    with pytest.raises(VlmatchError, match=r"encoder 'e': weights .* can't be read as Keras weights"):
        read_keras("e", tfjs)
    shard.unlink()
    with pytest.raises(VlmatchError, match=rf"encoder 'e': '{tfjs}' .* shards"):
        read_keras("e", tfjs)


def test_a_damaged_hdf5_file_is_refused_in_one_line(tmp_path):
    (tmp_path / "w.h5").write_bytes(b"\x89HDF no")
    with pytest.raises(VlmatchError, match="can't be read as Keras weights"):
        read_keras("e", tmp_path / "w.h5")


def test_layers_are_matched_by_place_and_a_folded_norm_changes_nothing():
    trunk = torch.nn.Sequential(
        torch.nn.Conv2d(2, 4, 3, bias=False),
        torch.nn.BatchNorm2d(4, eps=1e-3),
        torch.nn.Conv2d(4, 4, 1, bias=False),
        torch.nn.BatchNorm2d(4, eps=1e-3),
    ).eval()
    first, second, shift = torch.randn(4, 2, 3, 3), torch.randn(4, 4, 1, 1), torch.randn(4)
    parts = {"2.10/kernel": second, "2.10/beta": shift, "2.9/kernel": first, "2.9/beta": shift}
    trunk.load_state_dict(in_order("e", parts, trunk))
    images = torch.randn(1, 2, 5, 5)
    conv = torch.nn.functional.conv2d
    torch.testing.assert_close(trunk(images), conv(conv(images, first, shift), second, shift), rtol=1e-4, atol=1e-4)
    with pytest.raises(VlmatchError, match="the file has 1 convolutions, but Sequential has 2"):
        in_order("e", {"1/kernel": first, "1/beta": shift}, trunk)
    without = {key: value for key, value in parts.items() if key != "2.10/kernel"} | {"2.10/gamma": shift}
    with pytest.raises(VlmatchError, match=r"`order` gives place 2\.10 no kernel, only 2\.10/beta, 2\.10/gamma"):
        in_order("e", without, trunk)


def test_the_corrected_mean_counts_the_cells_of_the_map_only():
    maps, pool = torch.randn(2, 3, 6, 5), torch.nn.functional.avg_pool2d
    ours = MeanWithoutPadding()(pool(maps, 3, 1, 1))
    torch.testing.assert_close(ours, pool(maps, 3, 1, 1, count_include_pad=False))


@pytest.mark.parametrize("name", ["nsfwjs_mobilenetv2", "nsfwjs_mobilenetv2_140", "nsfwjs_inceptionv3"])
@torch.inference_mode()
def test_the_packages_own_classifier_finds_photographs_neutral_on_our_features(name, photos):
    config = encoder_configs()[name]
    ours = instantiate(config)
    weights = read_keras(name, package_folder(Package.of(config["package"])) / config["file"])
    hidden = ours(ours.collate([ours.prepare(photo) for photo in photos[:4]]))
    layers = [(key, kernel) for key, kernel in weights.items() if kernel.ndim == 2]
    for key, kernel in sorted(layers):
        bias = weights.get(key.replace("kernel", "bias").replace("_262", "_263"))
        hidden = hidden @ kernel.T + bias
        hidden = hidden.relu() if len(bias) > 5 else hidden
    neutral = hidden.softmax(dim=1)[:, 2]  # classes: drawing, hentai, neutral, porn, sexy
    assert neutral.mean() > 0.75


@pytest.mark.slow
@torch.inference_mode()
def test_the_face_detectors_mobilenetv1_computes_what_its_package_says(photos):
    """The reference follows mobileNetV1.ts of face-api.js line by line, with TensorFlow's padding written out."""
    config = encoder_configs()["faceapi_mobilenetv1"]
    ours = instantiate(config)
    weights = read_keras("e", package_folder(Package.of(config["package"])) / config["file"])
    prepared = ours.prepare(photos[0])[None]
    maps = _pointwise(prepared, weights, "MobilenetV1/Conv2d_0_pointwise", 2)
    for layer in range(1, 14):
        place = f"MobilenetV1/Conv2d_{layer}_"
        kernel = weights[f"{place}depthwise/depthwise_weights"]
        maps = _same(maps, kernel, 2 if layer in (2, 4, 6, 12) else 1, groups=len(kernel))
        norm = {key: weights[f"{place}depthwise/BatchNorm/{key}"][:, None, None] for key in NORM}
        maps = (maps - norm["moving_mean"]) / (norm["moving_variance"] + 1e-3).sqrt() * norm["gamma"] + norm["beta"]
        maps = _pointwise(maps.clamp(0, 6), weights, f"{place}pointwise", 1)
    torch.testing.assert_close(ours.feature_map(prepared), maps, rtol=1e-4, atol=1e-4)


NORM = ("moving_mean", "moving_variance", "gamma", "beta")


def _pointwise(maps, weights, place, stride):
    kernel, shift = weights[f"{place}/weights"], weights[f"{place}/convolution_bn_offset"]
    return (_same(maps, kernel, stride) + shift[:, None, None]).clamp(0, 6)


def _same(maps, kernel, stride, groups=1):
    side, width = maps.shape[-1], kernel.shape[-1]
    padding = max((-(-side // stride) - 1) * stride + width - side, 0)
    before, after = padding // 2, padding - padding // 2
    padded = torch.nn.functional.pad(maps, (before, after, before, after))
    return torch.nn.functional.conv2d(padded, kernel, stride=stride, groups=groups)
