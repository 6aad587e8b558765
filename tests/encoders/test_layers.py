"""A tower's layers are its library's own hidden states, whichever end they are counted from."""

from pathlib import Path
from typing import Any

import pytest
import timm
import torch
from safetensors.torch import save_file
from torchvision.models import get_model

from encoders.test_convnets import PREPROCESSING
from encoders.test_openclip import GELU_TAG, tiny  # noqa: F401 - a fixture
from encoders.test_transformers_models import save
from vlmatch.encoders.controls import Pixels, RandomConvnet
from vlmatch.encoders.maps import TimmMapEncoder, timm_convnet
from vlmatch.encoders.openclip import OpenClipEncoder
from vlmatch.encoders.timm_models import TimmEncoder
from vlmatch.encoders.transformers_models import TransformersEncoder
from vlmatch.errors import VlmatchError

WITH_CLS = ("clip", "dinov2", "registers", "dinov3", "vit", "depth")
WITHOUT = ("siglip", "ijepa", "aimv2")


@pytest.fixture
def batch() -> torch.Tensor:
    """Two prepared images of 56 x 56 pixels."""
    return torch.randn(2, 3, 56, 56, generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize("name", [*WITH_CLS, *WITHOUT])
@pytest.mark.parametrize(("layer", "place"), [(-1, -1), (3, -1), (-3, 1), (1, 1), (2, -2)])
@torch.inference_mode()
def test_a_layer_is_transformers_own_hidden_state(
    tmp_path: Path, batch: torch.Tensor, name: str, layer: int, place: int
) -> None:
    model, _ = save(tmp_path, name)
    state = model(pixel_values=batch, output_hidden_states=True).hidden_states[place]
    ours = TransformersEncoder("x", checkpoint=str(tmp_path), layer=layer)
    assert ours.n_layers == 3
    torch.testing.assert_close(ours(batch), state[:, 0] if name in WITH_CLS else state[:, -16:].mean(dim=1))
    assert ours.rule == ("cls" if name in WITH_CLS else "mean patch")
    torch.testing.assert_close(ours.fed_tokens(batch), state[:, -16:])
    ours.choose(layer, "vlm_input")
    torch.testing.assert_close(ours(batch), state[:, -16:].mean(dim=1))


@pytest.mark.parametrize(("name", "n"), [("convnext", 4), ("swin", 2)])
@torch.inference_mode()
def test_the_layers_of_a_hierarchical_model_are_its_stages(
    tmp_path: Path, batch: torch.Tensor, name: str, n: int
) -> None:
    model, _ = save(tmp_path, name)
    states = model(pixel_values=batch, output_hidden_states=True).hidden_states
    for layer in range(1, n + 1):
        ours = TransformersEncoder("x", checkpoint=str(tmp_path), layer=layer)
        state = states[layer] if states[layer].ndim == 3 else states[layer].flatten(2).transpose(1, 2)
        torch.testing.assert_close(ours(batch), state.mean(dim=1))
    assert ours.n_layers == n
    assert ours.rule == "global average"


@pytest.mark.parametrize("name", ["test_vit.r160_in1k", "test_vit2.r160_in1k", "test_vit3.r160_in1k", "test_eva"])
@torch.inference_mode()
def test_a_layer_of_a_timm_transformer_is_what_its_block_gives(tmp_path: Path, name: str) -> None:
    torch.manual_seed(0)
    model = (
        timm.create_model("eva02_tiny_patch14_224", depth=3, img_size=56)
        if name == "test_eva"
        else timm.create_model(name)
    ).eval()
    save_file(model.state_dict(), tmp_path / "model.safetensors")
    size = {"image_size": 56} if name == "test_eva" else {}
    ours: Any = _timm(tmp_path, name, size) if name != "test_eva" else _of_trunk(model)
    images = torch.randn(2, 3, *([56] * 2 if name == "test_eva" else [160] * 2))
    n, trunk = len(model.blocks), ours.trunk
    assert ours.n_layers == n
    for layer in (1, -1, -2):
        block = trunk.blocks[layer - 1 if layer > 0 else layer]
        found: list[torch.Tensor] = []
        handle = block.register_forward_hook(lambda module, given, output, found=found: found.append(output))
        trunk.forward_features(images)
        handle.remove()
        ours.choose(layer, "paper")
        prefix = trunk.num_prefix_tokens
        own = found[0][:, 0] if ours.paper_rule == "cls" else found[0][:, prefix:].mean(dim=1)
        torch.testing.assert_close(ours(images), own)
        torch.testing.assert_close(ours.fed_tokens(images), found[0][:, prefix:])


def _timm(folder: Path, name: str, options: dict[str, Any]) -> TimmEncoder:
    return TimmEncoder("x", name, checkpoint=str(folder / "model.safetensors"), **options)


def _of_trunk(model: Any) -> TimmEncoder:
    """A TimmEncoder of a model in memory, which need not be timm's own size."""
    encoder = TimmEncoder.__new__(TimmEncoder)
    torch.nn.Module.__init__(encoder)
    encoder.name, encoder.trunk = "x", model
    model.reset_classifier(0)
    encoder.choose(None, "paper")
    return encoder


@pytest.mark.parametrize("architecture", ["tiny-clip", "tiny-clipa", "tiny-coca"])
@torch.inference_mode()
def test_a_layer_of_an_open_clip_tower_is_what_its_block_gives(tiny, batch, architecture) -> None:  # noqa: F811
    model, weights = tiny(architecture, GELU_TAG)
    found: list[torch.Tensor] = []
    model.visual.transformer.resblocks[0].register_forward_hook(lambda module, given, output: found.append(output))
    model.visual(batch)
    for layer in (1, -3):
        ours = OpenClipEncoder("x", architecture, "tag", checkpoint=str(weights), layer=layer)
        own = found[0][:, 0] if ours.paper_rule == "cls" else found[0][:, 1:].mean(dim=1)
        torch.testing.assert_close(ours(batch), own)
        torch.testing.assert_close(ours.fed_tokens(batch), found[0][:, 1:])


@torch.inference_mode()
def test_the_layers_of_clips_resnet_are_its_stages(tiny) -> None:  # noqa: F811
    model, weights = tiny("tiny-resnet", GELU_TAG)
    images = torch.randn(2, 3, 64, 64)
    last = model.visual.layer4(
        stage := model.visual.layer3(model.visual.layer2(model.visual.layer1(model.visual.stem(images))))
    )
    ours = OpenClipEncoder("x", "tiny-resnet", "tag", checkpoint=str(weights), layer=-1)
    assert ours.n_layers == 5
    torch.testing.assert_close(ours(images), last.mean(dim=(2, 3)))
    ours.choose(-2, "paper")
    torch.testing.assert_close(ours(images), stage.mean(dim=(2, 3)))


@pytest.mark.parametrize(
    ("architecture", "node", "blocks"),
    [
        ("resnet18", "layer4", ["maxpool", "layer1", "layer2", "layer3", "layer4"]),
        ("mobilenet_v2", "features", ["features.1", "features.3", "features.6", "features.13", "features.18"]),
        ("vgg16_bn", "features.39", ["features.5", "features.12", "features.22", "features.32", "features.39"]),
    ],
)
@torch.inference_mode()
def test_the_layers_of_a_torchvision_model_are_its_last_maps_of_each_resolution(architecture, node, blocks) -> None:
    ours = RandomConvnet("x", architecture=architecture, node=node, seed=0, preprocessing=PREPROCESSING)
    original = get_model(architecture, weights=None)
    state = {key: value for key, value in ours.trunk.state_dict().items() if key in original.state_dict()}
    original.load_state_dict(state, strict=False)
    found: dict[str, torch.Tensor] = {}
    for name in blocks:
        original.get_submodule(name).register_forward_hook(
            lambda module, given, output, name=name: found.__setitem__(name, output.clone())
        )
    images = torch.randn(2, 3, 96, 96)
    original.eval()(images)
    stages = [name for name in blocks if name != "maxpool"]
    for layer in range(-len(stages), 0):
        ours.choose(layer, "paper")
        torch.testing.assert_close(ours(images), found[stages[layer]].mean(dim=(2, 3)), rtol=1e-4, atol=1e-5)
    assert ours.n_layers == 5
    ours.choose(-1, "paper")
    torch.testing.assert_close(ours(images), ours.paper_feature(images))
    assert set(ours.state_dict()) == {f"trunk.{key}" for key in ours.trunk.state_dict()}


@pytest.mark.parametrize("architecture", ["tf_efficientnet_lite0", "mobilenetv2_050", "test_convnext"])
@torch.inference_mode()
def test_the_layers_of_a_timm_convnet_are_its_stages(architecture) -> None:
    class Small(TimmMapEncoder):
        def __init__(self) -> None:
            super().__init__("x", PREPROCESSING)
            self.trunk = timm_convnet("x", architecture, {})
            self.eval()

    ours = Small()
    images = torch.randn(2, 3, 64, 64)
    maps = ours.trunk.forward_intermediates(images, intermediates_only=True)
    assert ours.n_layers == len(maps)
    features = ours.variants(images, [(layer, "paper") for layer in range(-len(maps), 0)])
    for feature, each in zip(features, maps, strict=True):
        torch.testing.assert_close(feature, each.mean(dim=(2, 3)))


@torch.inference_mode()
def test_several_layers_from_one_pass_are_those_asked_for_one_by_one(tmp_path: Path, batch: torch.Tensor) -> None:
    save(tmp_path, "dinov2")
    ours = TransformersEncoder("x", checkpoint=str(tmp_path))
    wanted = [(-1, "vlm_input"), (1, "paper"), (3, "paper"), (1, "grid2"), (-2, "vlm_input")]
    together = ours.variants(batch, wanted)
    for (layer, feature), found in zip(wanted, together, strict=True):
        alone = TransformersEncoder("x", checkpoint=str(tmp_path), layer=layer, feature=feature)
        torch.testing.assert_close(found, alone(batch))
    assert together[3].shape == (2, 4 * 32)


@pytest.mark.parametrize("layer", [0, 4, -4])
def test_a_layer_out_of_range_is_one_line_that_says_how_many_there_are(
    tmp_path: Path, batch: torch.Tensor, layer: int
) -> None:
    save(tmp_path, "dinov2")
    ours = TransformersEncoder("x", checkpoint=str(tmp_path), layer=layer)
    with pytest.raises(VlmatchError, match=rf"encoder 'x': layer={layer}, but it has 3 layers; choose 1 to 3") as error:
        ours(batch)
    assert "\n" not in str(error.value)


def test_an_encoder_without_layers_says_so() -> None:
    ours = Pixels("x", 4, layer=-1)
    with pytest.raises(VlmatchError, match=r"encoder 'x': layer=-1, but Pixels has no layers.*encoder.layer=null"):
        ours(torch.rand(1, 3, 4, 4))
