"""ONNX encoders: equal to onnxruntime, differentiable, and refused in one line when they are not what the yaml says."""

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from hydra.utils import instantiate
from onnx import TensorProto, helper, numpy_helper

from encoders.conftest import encoder_configs
from vlmatch.encoders.onnx import OnnxEncoder
from vlmatch.errors import VlmatchError
from vlmatch.packages.package import Package, package_folder

PREPROCESSING = {"size": 8, "resize_to": 8, "resize": "squash", "mean": [0.5, 0.5, 0.5], "std": [0.5, 0.5, 0.5]}
NODES = {"input_node": "image", "feature_node": "pooled", "map_node": "map", "rule": "global average"}


@pytest.fixture
def onnx_file(tmp_path):
    """One convolution, a ReLU, a global average and a classifier, NCHW."""
    weights = np.random.default_rng(0).normal(size=(5, 3, 3, 3)).astype(np.float32)
    nodes = [
        helper.make_node("Conv", ["image", "w"], ["conv"], pads=[1, 1, 1, 1]),
        helper.make_node("Relu", ["conv"], ["map"]),
        helper.make_node("GlobalAveragePool", ["map"], ["average"]),
        helper.make_node("Flatten", ["average"], ["pooled"]),
        helper.make_node("Softmax", ["pooled"], ["classes"]),
    ]
    image = helper.make_tensor_value_info("image", TensorProto.FLOAT, ["n", 3, 8, 8])
    classes = helper.make_tensor_value_info("classes", TensorProto.FLOAT, ["n", 5])
    graph = helper.make_graph(nodes, "tiny", [image], [classes], [numpy_helper.from_array(weights, "w")])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=8)
    onnx.save(model, tmp_path / "tiny.onnx")
    return tmp_path / "tiny.onnx"


ONNX = sorted(name for name, config in encoder_configs().items() if config["_target_"].endswith("OnnxEncoder"))


def runtime(path, inputs, outputs):
    """The values of `outputs` by onnxruntime, an implementation of its own."""
    whole = onnx.shape_inference.infer_shapes(onnx.load(path))
    model = onnx.utils.Extractor(whole).extract_model(list(inputs), outputs)
    for value in [*model.graph.input, *model.graph.value_info, *model.graph.output]:
        value.type.tensor_type.ClearField("shape")  # some files fix another batch or size than they are run with
    session = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    return session.run(outputs, inputs)


@pytest.mark.parametrize("name", ONNX)
@torch.inference_mode()
def test_a_packaged_onnx_encoder_equals_onnxruntime_from_pixels_to_feature(name, photos):
    config = encoder_configs()[name]
    ours = instantiate(config)
    prepared = ours.prepare(photos[0])[None]  # one image: some graphs are made for a batch of one
    path = package_folder(Package.of(config["package"])) / config["file"]
    inputs = prepared.permute(0, 2, 3, 1) if config.get("layout") == "nhwc" else prepared
    feature_node = config.get("feature_node")
    outputs = [config["map_node"], *([feature_node] if feature_node else [])]
    last_map, *feature = runtime(path, {config["input_node"]: inputs.numpy()}, outputs)
    if config.get("layout") == "nhwc" and last_map.shape[1] != ours(prepared).shape[1]:
        last_map = last_map.transpose(0, 3, 1, 2)
    scale = np.abs(last_map).max()
    # Values reach 18 and more, where two float32 convolutions differ by 2e-4: compared to the map's scale.
    cells = last_map.reshape(1, last_map.shape[1], -1).swapaxes(1, 2)
    np.testing.assert_allclose(ours.tokens(prepared).numpy(), cells, atol=1e-4 * scale)
    expected = feature[0] if feature else last_map.mean(axis=(2, 3))
    np.testing.assert_allclose(ours(prepared).numpy(), expected, atol=1e-4 * scale)


def test_a_local_nchw_file_equals_onnxruntime_and_lets_gradients_through(onnx_file, photos):
    ours = OnnxEncoder("x", preprocessing=PREPROCESSING, checkpoint=str(onnx_file), **NODES)
    batch = ours.collate([ours.prepare(photo) for photo in photos])
    (expected,) = runtime(onnx_file, {"image": batch.numpy()}, ["pooled"])
    feature = ours(batch.requires_grad_())
    np.testing.assert_allclose(feature.detach().numpy(), expected, atol=1e-5)
    feature.sum().backward()
    assert batch.grad.abs().sum() > 0
    assert not ours.training


@pytest.mark.parametrize("setting", ["input_node", "map_node", "feature_node"])
def test_a_node_that_is_not_there_names_its_setting_and_those_at_the_end(onnx_file, setting):
    wrong = NODES | {setting: "features"}
    said = rf"node 'features' is not in 'tiny.onnx', .* pooled, classes; correct encoder\.{setting}$"
    with pytest.raises(VlmatchError, match=said):
        OnnxEncoder("x", preprocessing=PREPROCESSING, checkpoint=str(onnx_file), **wrong)


def test_a_file_that_is_no_onnx_and_an_unknown_layout_are_one_line(tmp_path):
    (tmp_path / "a.onnx").write_bytes(b"not onnx at all")
    with pytest.raises(VlmatchError, match="can't be read as ONNX"):
        OnnxEncoder("x", preprocessing=PREPROCESSING, checkpoint=str(tmp_path / "a.onnx"), **NODES)
    with pytest.raises(VlmatchError, match="layout='hwc' is unknown"):
        OnnxEncoder("x", preprocessing=PREPROCESSING, checkpoint=str(tmp_path / "a.onnx"), layout="hwc", **NODES)


def test_weights_in_other_files_are_refused(onnx_file):
    model = onnx.load(onnx_file)
    onnx.save(model, onnx_file, save_as_external_data=True, location="weights.data", size_threshold=0)
    with pytest.raises(VlmatchError, match=r"'tiny.onnx' keeps weights in other files; save it as one"):
        OnnxEncoder("x", preprocessing=PREPROCESSING, checkpoint=str(onnx_file), **NODES)


def test_an_operation_that_onnx2torch_lacks_is_one_line(onnx_file):
    model = onnx.load(onnx_file)
    model.graph.node[1].op_type = "Hardmax"
    onnx.save(model, onnx_file)
    with pytest.raises(VlmatchError, match=r"onnx2torch can't convert 'tiny.onnx' \(NotImplementedError"):
        OnnxEncoder("x", preprocessing=PREPROCESSING, checkpoint=str(onnx_file), **NODES)


@pytest.mark.parametrize("damage", ["no weights", "no opset", "no link"])
def test_a_graph_that_does_not_hold_together_is_one_line(onnx_file, damage):
    model = onnx.load(onnx_file)
    if damage == "no weights":
        del model.graph.initializer[:]
    elif damage == "no opset":
        model.graph.node[0].domain = "elsewhere"
    nodes = NODES | {"input_node": "pooled"} if damage == "no link" else NODES
    onnx.save(model, onnx_file)
    with pytest.raises(VlmatchError, match=r"tiny.onnx'.* \(.*\); ") as caught:
        OnnxEncoder("x", preprocessing=PREPROCESSING, checkpoint=str(onnx_file), **nodes)
    assert "\n" not in str(caught.value)
