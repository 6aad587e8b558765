"""timm encoders: the tag's preprocessing, timm's own pooling, prefix tokens counted by the model."""

import pytest
import timm
import torch
from safetensors.torch import save_file

from vlmatch.encoders.timm_models import TimmEncoder, patch_tokens
from vlmatch.errors import NotHereError, VlmatchError


@pytest.fixture
def saved(tmp_path):
    """Save a timm model with random weights as both kinds of file; gives the model and the .safetensors."""

    def save(name: str):
        torch.manual_seed(0)
        model = timm.create_model(name, pretrained=False).eval()
        save_file(model.state_dict(), tmp_path / "model.safetensors")
        torch.save(model.state_dict(), tmp_path / "model.pth")
        return model, tmp_path / "model.safetensors"

    return save


@pytest.mark.parametrize(
    ("name", "rule", "n_tokens"),
    [
        ("test_vit.r160_in1k", "cls", 100),
        ("test_vit2.r160_in1k", "mean patch", 100),
        ("test_vit3.r160_in1k", "attention pool", 100),
        ("test_convnext.r160_in1k", "global average", 25),
        ("test_resnet.r160_in1k", "global average", 25),
    ],
)
@torch.inference_mode()
def test_the_feature_is_what_timm_feeds_its_classifier(saved, photos, name, rule, n_tokens):
    model, path = saved(name)
    ours = TimmEncoder("x", name, checkpoint=str(path))
    batch = ours.collate([ours.prepare(photo) for photo in photos[:2]])
    own = model.forward_head(model.forward_features(batch), pre_logits=True)
    torch.testing.assert_close(ours(batch), own, rtol=0, atol=1e-5)
    torch.testing.assert_close(ours(batch[:1]), ours(batch)[:1], rtol=0, atol=1e-4)
    assert ours.tokens(batch).shape[:2] == (2, n_tokens)
    assert ours.rule == rule
    config = timm.data.resolve_data_config(model=model)
    assert torch.equal(ours.prepare(photos[0]), timm.data.create_transform(**config)(photos[0]))
    assert ours.preprocessing["mean"] == list(model.pretrained_cfg["mean"])


def test_both_kinds_of_file_give_the_same_weights(saved):
    _, path = saved("test_vit.r160_in1k")
    files = [
        TimmEncoder("x", "test_vit.r160_in1k", checkpoint=str(place)) for place in (path, path.with_suffix(".pth"))
    ]
    assert all(torch.equal(a, b) for a, b in zip(files[0].parameters(), files[1].parameters(), strict=True))


@torch.inference_mode()
def test_class_and_register_tokens_are_left_out_by_the_models_own_count():
    trunk = timm.create_model(
        "vit_small_patch14_reg4_dinov2", depth=3, embed_dim=32, num_heads=2, img_size=56, pretrained=False
    ).eval()
    assert trunk.num_prefix_tokens == 5
    caught = []
    trunk.blocks[-2].register_forward_hook(lambda module, inputs, output: caught.append(output))
    images = torch.randn(2, 3, 56, 56)
    trunk.forward_features(images)
    tokens = patch_tokens(trunk, images)
    assert tokens.shape == (2, 16, 32)
    torch.testing.assert_close(tokens, caught[0][:, 5:])


@torch.inference_mode()
def test_the_cells_of_a_channels_last_map_are_tokens_too():
    trunk = timm.create_model("swin_tiny_patch4_window7_224", depths=(1, 1), embed_dim=8, num_heads=(1, 1)).eval()
    images = torch.randn(1, 3, 224, 224)
    torch.testing.assert_close(patch_tokens(trunk, images), trunk.forward_features(images).reshape(1, 28 * 28, 16))


def test_incomplete_weights_are_refused_rather_than_drawn_at_random(saved):
    model, path = saved("test_vit.r160_in1k")
    state = model.state_dict()
    del state["blocks.0.mlp.fc1.weight"]
    save_file(state, path)
    with pytest.raises(VlmatchError, match=r"do not fit the architecture: 1 of 78 tensors missing.*fc1") as caught:
        TimmEncoder("x", "test_vit.r160_in1k", checkpoint=str(path))
    assert "\n" not in str(caught.value)


def test_damaged_files_are_one_line(bad_weights):
    with pytest.raises(VlmatchError, match=f"weights '{bad_weights}' can't be read") as caught:
        TimmEncoder("x", "test_vit.r160_in1k", checkpoint=str(bad_weights))
    assert "\n" not in str(caught.value)


def test_unknown_models_and_tags_are_named(saved):
    _, path = saved("test_vit.r160_in1k")
    with pytest.raises(VlmatchError, match="model='vit_huge_nonsense' is unknown to timm"):
        TimmEncoder("x", "vit_huge_nonsense", checkpoint=str(path))
    with pytest.raises(VlmatchError, match=r"choose e.g. vit_large_patch14_dinov2.lvd142m"):
        TimmEncoder("x", "vit_large_patch14_dinov2.lvd143m")
    with pytest.raises(NotHereError, match="does not exist"):
        TimmEncoder("x", "test_vit.r160_in1k", checkpoint="/nowhere/model.safetensors")


@torch.inference_mode()
def test_pool_replaces_timms_own_pooling_where_the_paper_says_otherwise(saved, photos):
    model, path = saved("test_vit.r160_in1k")
    ours = TimmEncoder("x", "test_vit.r160_in1k", checkpoint=str(path), pool="avg")
    batch = ours.collate([ours.prepare(photos[0])])
    patches = model.forward_features(batch)[:, model.num_prefix_tokens :]
    torch.testing.assert_close(ours(batch), patches.mean(dim=1), rtol=0, atol=1e-5)
    assert ours.rule == "mean patch"


@pytest.mark.parametrize(
    ("name", "pool", "choices"),
    [
        ("test_vit.r160_in1k", "max", r"pool='max' .*VisionTransformer; choose token or avg, or null"),
        ("test_vit3.r160_in1k", "token", r"choose avg, or null"),
        ("test_convnext.r160_in1k", "avg", r"pool='avg' .*ConvNeXt; .* null"),
    ],
)
def test_a_pooling_that_the_model_has_not_is_refused(saved, name, pool, choices):
    _, path = saved(name)
    with pytest.raises(VlmatchError, match=choices):
        TimmEncoder("x", name, checkpoint=str(path), pool=pool)


@torch.inference_mode()
def test_another_image_size_is_prepared_and_resampled_as_timm_does(saved, photos):
    model, path = saved("test_vit.r160_in1k")
    ours = TimmEncoder("x", "test_vit.r160_in1k", checkpoint=str(path), image_size=96)
    batch = ours.collate([ours.prepare(photos[0])])
    assert batch.shape == (1, 3, 96, 96)
    model.set_input_size(96)
    torch.testing.assert_close(ours(batch), model.forward_head(model.forward_features(batch), pre_logits=True))
    assert ours.tokens(batch).shape[1] == 36
    assert ours.preprocessing["input_size"] == [3, 96, 96]
    _, path = saved("test_convnext.r160_in1k")
    with pytest.raises(VlmatchError, match=r"timm's test_convnext.r160_in1k does not take image_size=96"):
        TimmEncoder("x", "test_convnext.r160_in1k", checkpoint=str(path), image_size=96)
