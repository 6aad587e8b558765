"""Transformers from ONNX files: blocks, CLS token and patches are the graph's own values."""

import numpy as np
import onnx
import pytest
import torch
from hydra.utils import instantiate
from onnx import TensorProto, helper, numpy_helper

from encoders.conftest import encoder_configs
from encoders.test_onnx import PREPROCESSING, runtime
from vlmatch.encoders.onnx_transformer import OnnxTransformer
from vlmatch.errors import VlmatchError
from vlmatch.packages.package import Package, package_folder

NODES = {"input_node": "image", "block_node": "block.{}", "blocks": 3, "norm_node": "norm"}
RANDOM = np.random.default_rng(0)
EMBEDDING, SCALE = RANDOM.normal(size=(6, 3, 4, 4)).astype(np.float32), RANDOM.normal(size=6).astype(np.float32)
BLOCKS = RANDOM.normal(size=(3, 6, 6)).astype(np.float32)


@pytest.fixture
def onnx_file(tmp_path):
    """Four patches behind their mean, which is the CLS token; three blocks x + x W, and a final scale."""
    nodes = [
        helper.make_node("Conv", ["image", "embedding"], ["map"], strides=[4, 4]),
        helper.make_node("Reshape", ["map", "shape"], ["flat"]),
        helper.make_node("Transpose", ["flat"], ["patches"], perm=[0, 2, 1]),
        helper.make_node("ReduceMean", ["patches"], ["mean"], axes=[1], keepdims=1),
        helper.make_node("Concat", ["mean", "patches"], ["start"], axis=1),
    ]
    before = "start"
    for number in range(3):
        nodes += [
            helper.make_node("MatMul", [before, f"w{number}"], [f"inner{number}"]),
            helper.make_node("Add", [before, f"inner{number}"], [f"block.{number}"]),
        ]
        before = f"block.{number}"
    nodes.append(helper.make_node("Mul", [before, "scale"], ["norm"]))
    weights = {"embedding": EMBEDDING, "shape": np.array([0, 6, -1]), "scale": SCALE}
    weights |= {f"w{number}": BLOCKS[number] for number in range(3)}
    image = helper.make_tensor_value_info("image", TensorProto.FLOAT, ["n", 3, 8, 8])
    norm = helper.make_tensor_value_info("norm", TensorProto.FLOAT, ["n", 5, 6])
    tensors = [numpy_helper.from_array(value, name) for name, value in weights.items()]
    model = helper.make_model(
        helper.make_graph(nodes, "tiny", [image], [norm], tensors),
        opset_imports=[helper.make_opsetid("", 13)],
        ir_version=8,
    )
    onnx.save(model, tmp_path / "tiny.onnx")
    return tmp_path / "tiny.onnx"


def blocks_by_hand(images):
    """The outputs of the three blocks by numpy: (n, 5, 6) each."""
    cut = images.reshape(-1, 3, 2, 4, 2, 4)
    patches = np.einsum("ncaibj,dcij->nabd", cut, EMBEDDING).reshape(-1, 4, 6)
    values = np.concatenate([patches.mean(axis=1, keepdims=True), patches], axis=1)
    for weights in BLOCKS:
        values = values + values @ weights
        yield values


@torch.inference_mode()
def test_cls_patches_and_layers_are_the_graphs_own(onnx_file, photos):
    ours = OnnxTransformer("x", preprocessing=PREPROCESSING, checkpoint=str(onnx_file), **NODES)
    batch = ours.collate([ours.prepare(photo) for photo in photos[:2]])
    first, second, third = blocks_by_hand(batch.numpy())
    np.testing.assert_allclose(ours(batch), third[:, 0] * SCALE, rtol=1e-4, atol=1e-4)
    np.testing.assert_allclose(ours.tokens(batch), second[:, 1:], rtol=1e-4, atol=1e-4)
    assert (ours.rule, ours.n_layers) == ("cls", 3)
    for layer, values in ((1, first), (2, second), (-1, third)):
        ours.choose(layer, "paper")
        np.testing.assert_allclose(ours(batch), values[:, 0], rtol=1e-4, atol=1e-4)
        np.testing.assert_allclose(ours.fed_tokens(batch), values[:, 1:], rtol=1e-4, atol=1e-4)
    assert ours.n_parameters() == EMBEDDING.size + BLOCKS.size + SCALE.size


@pytest.mark.parametrize(
    ("wrong", "settings"),
    [
        ({"blocks": 4}, "encoder.block_node or encoder.blocks"),
        ({"norm_node": "block.3"}, "encoder.norm_node"),
        ({"input_node": "block.3"}, "encoder.input_node"),
    ],
)
def test_a_node_that_is_not_there_names_its_setting(onnx_file, wrong, settings):
    with pytest.raises(VlmatchError, match=rf"node 'block\.3' is not in .*; correct {settings}$"):
        OnnxTransformer("x", preprocessing=PREPROCESSING, checkpoint=str(onnx_file), **(NODES | wrong))


@pytest.mark.parametrize("wrong", [{"blocks": 1}, {"block_node": "block"}])
def test_nodes_that_cannot_be_blocks_are_one_line(onnx_file, wrong):
    with pytest.raises(VlmatchError, match="wanted 2 blocks or more, and a node with"):
        OnnxTransformer("x", preprocessing=PREPROCESSING, checkpoint=str(onnx_file), **NODES | wrong)


@pytest.mark.slow
@torch.inference_mode()
def test_the_packaged_dinov2_equals_onnxruntime_in_its_blocks_and_after_its_norm(photos):
    config = encoder_configs()["imgfocus_dinov2_s"]
    ours = instantiate(config)
    prepared = ours.collate([ours.prepare(photo) for photo in photos[:2]])
    path = package_folder(Package.of(config["package"])) / config["file"]
    nodes = [config["block_node"].format(8), config["block_node"].format(10), config["norm_node"]]
    ninth, eleventh, norm = runtime(path, {config["input_node"]: prepared.numpy()}, nodes)
    np.testing.assert_allclose(ours(prepared), norm[:, 0], atol=1e-4 * np.abs(norm).max())
    np.testing.assert_allclose(ours.tokens(prepared), eleventh[:, 1:], atol=1e-4 * np.abs(eleventh).max())
    ours.choose(9, "paper")
    np.testing.assert_allclose(ours(prepared), ninth[:, 0], atol=1e-4 * np.abs(ninth).max())
    assert ours.n_parameters() == 22_056_576 - 384  # DINOv2's ViT-S/14 without its mask token
