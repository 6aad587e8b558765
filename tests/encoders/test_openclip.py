"""open_clip encoders: preprocessing and activation of the tag by either route, the feature before the projection."""

import json

import open_clip
import pytest
import torch
from open_clip import pretrained as open_clip_tags
from safetensors.torch import save_file

from vlmatch.encoders.openclip import OpenClipEncoder
from vlmatch.errors import NotHereError, VlmatchError

TEXT = {"context_length": 8, "vocab_size": 64, "width": 32, "heads": 2, "layers": 1}
VIT = {"image_size": 56, "layers": 3, "width": 32, "head_width": 16, "patch_size": 14}
ARCHITECTURES = {
    "tiny-clip": {"embed_dim": 24, "vision_cfg": VIT, "text_cfg": TEXT},
    "tiny-clipa": {"embed_dim": 24, "vision_cfg": VIT | {"pool_type": "avg"}, "text_cfg": TEXT},
    "tiny-coca": {"embed_dim": 24, "vision_cfg": VIT | {"attentional_pool": True}, "text_cfg": TEXT},
    "tiny-resnet": {
        "embed_dim": 24,
        "vision_cfg": {"image_size": 64, "layers": [1, 1, 1, 1], "width": 8, "patch_size": None},
        "text_cfg": TEXT,
    },
    "tiny-siglip": {
        "embed_dim": 96,
        "init_logit_bias": -10,
        "custom_text": True,
        "vision_cfg": {"image_size": 160, "timm_model_name": "test_vit3", "timm_pool": "map", "timm_proj": "none"},
        "text_cfg": TEXT,
    },
    "tiny-timm": {
        "embed_dim": 24,
        "vision_cfg": {"image_size": 160, "timm_model_name": "test_vit", "timm_pool": "token", "timm_proj": "linear"},
        "text_cfg": TEXT,
    },
}
SIGLIP_TAG = {"mean": (0.5, 0.5, 0.5), "std": (0.5, 0.5, 0.5), "interpolation": "bicubic", "resize_mode": "squash"}
GELU_TAG = {"mean": (0.4, 0.5, 0.6), "std": (0.2, 0.3, 0.4), "interpolation": "bilinear", "quick_gelu": True}


@pytest.fixture
def tiny(tmp_path, monkeypatch):
    """Write a tiny model of a real class with random weights and a tag; gives the model and its weight file."""

    def make(architecture: str, tag: dict):
        config = tmp_path / f"{architecture}.json"
        config.write_text(json.dumps(ARCHITECTURES[architecture]))
        monkeypatch.setattr(open_clip.factory, "_MODEL_CONFIG_PATHS", list(open_clip.factory._MODEL_CONFIG_PATHS))
        open_clip.add_model_config(config)
        torch.manual_seed(0)
        options = {"force_quick_gelu": True} if tag.get("quick_gelu") else {}
        model = open_clip.create_model(architecture, **options).eval()
        for parameter in model.parameters():
            torch.nn.init.normal_(parameter, std=0.1)
        weights = tmp_path / "weights.safetensors"
        save_file({key: value.contiguous() for key, value in model.state_dict().items()}, weights)
        monkeypatch.setitem(open_clip_tags._PRETRAINED, architecture, {"tag": tag | {"file": str(weights)}})
        return model, weights

    return make


def layer_before_the_last(model, photos, encoder):
    """Output of the last block but one for prepared photos, caught on its way: (n, prefix + patches, d)."""
    caught = []
    trunk = model.visual.trunk.blocks if hasattr(model.visual, "trunk") else model.visual.transformer.resblocks
    handle = trunk[-2].register_forward_hook(lambda module, inputs, output: caught.append(output))
    model.visual(encoder.collate([encoder.prepare(photo) for photo in photos]))
    handle.remove()
    return caught[0]


@pytest.mark.parametrize(
    ("architecture", "tag", "rule", "n_patches"),
    [
        ("tiny-clip", GELU_TAG, "cls", 16),
        ("tiny-clipa", SIGLIP_TAG, "mean patch", 16),
        ("tiny-coca", GELU_TAG, "attention pool", 16),
        ("tiny-resnet", GELU_TAG, "attention pool", 4),
        ("tiny-siglip", SIGLIP_TAG, "attention pool", 100),
        ("tiny-timm", SIGLIP_TAG, "cls", 100),
    ],
)
@torch.inference_mode()
def test_the_feature_times_the_projection_is_the_librarys_own_embedding(
    tiny, photos, architecture, tag, rule, n_patches
):
    model, weights = tiny(architecture, tag)
    ours = OpenClipEncoder("x", architecture, "tag", checkpoint=str(weights))
    batch = ours.collate([ours.prepare(photo) for photo in photos[:3]])
    feature = ours(batch)
    projected = feature
    if getattr(model.visual, "proj", None) is not None:
        projected = feature @ model.visual.proj
    elif hasattr(model.visual, "head"):
        projected = model.visual.head(feature)
    torch.testing.assert_close(projected, model.encode_image(batch), rtol=1e-5, atol=1e-5)
    torch.testing.assert_close(ours(batch[:1]), feature[:1], rtol=0, atol=1e-4)
    assert ours.rule == rule
    tokens = ours.tokens(batch)
    assert tokens.shape[:2] == (3, n_patches)
    if architecture != "tiny-resnet":
        torch.testing.assert_close(tokens, layer_before_the_last(model, photos[:3], ours)[:, -n_patches:])


@torch.inference_mode()
def test_cls_is_taken_after_the_final_norm(tiny, photos):
    model, weights = tiny("tiny-clip", GELU_TAG)
    ours = OpenClipEncoder("x", "tiny-clip", "tag", checkpoint=str(weights))
    normed = []
    model.visual.ln_post.register_forward_hook(lambda module, inputs, output: normed.append(output))
    batch = ours.collate([ours.prepare(photos[0])])
    model.visual(batch)
    torch.testing.assert_close(ours(batch), normed[0][:, 0], rtol=0, atol=1e-5)


@pytest.mark.filterwarnings("ignore:QuickGELU mismatch")  # the library only warns; ours follows the tag
@pytest.mark.parametrize(("architecture", "tag"), [("tiny-clip", GELU_TAG), ("tiny-siglip", SIGLIP_TAG)])
def test_both_routes_give_the_tags_preprocessing_and_activation(tiny, photos, architecture, tag):
    _, weights = tiny(architecture, tag)
    by_tag = OpenClipEncoder("x", architecture, "tag")
    by_file = OpenClipEncoder("x", architecture, "tag", checkpoint=str(weights))
    _, library = open_clip.create_model_from_pretrained(architecture, "tag")
    for ours in (by_tag, by_file):
        assert torch.equal(ours.prepare(photos[0]), library(photos[0]))
        activations = {type(module).__name__ for module in ours.visual.modules() if "GELU" in type(module).__name__}
        assert activations == ({"QuickGELU"} if tag.get("quick_gelu") else {"GELU"})
        assert ours.preprocessing["mean"] == list(tag["mean"])
        assert ours.preprocessing["resize_mode"] == tag.get("resize_mode", "shortest")
    assert by_tag.preprocessing == by_file.preprocessing
    assert by_tag.weights_sha256 == by_file.weights_sha256


def test_open_clip_given_only_the_file_would_prepare_otherwise(tiny, photos):
    _, weights = tiny("tiny-siglip", SIGLIP_TAG)
    _, by_file_alone = open_clip.create_model_from_pretrained("tiny-siglip", str(weights))
    ours = OpenClipEncoder("x", "tiny-siglip", "tag", checkpoint=str(weights))
    assert not torch.allclose(ours.prepare(photos[0]), by_file_alone(photos[0]))


@torch.inference_mode()
def test_a_folder_with_its_config_needs_neither_architecture_nor_tag(tiny, photos, tmp_path):
    model, weights = tiny("tiny-clip", GELU_TAG)
    folder = tmp_path / "folder"
    folder.mkdir()
    preprocess = {"mean": [0.4, 0.5, 0.6], "std": [0.2, 0.3, 0.4], "interpolation": "bilinear", "resize_mode": "squash"}
    model_config = ARCHITECTURES["tiny-clip"] | {"quick_gelu": True}
    (folder / "open_clip_config.json").write_text(json.dumps({"model_cfg": model_config, "preprocess_cfg": preprocess}))
    with pytest.raises(NotHereError, match=r"holds no weights; it needs one of open_clip_model.safetensors"):
        OpenClipEncoder("x", None, None, checkpoint=str(folder))
    weights.rename(folder / "open_clip_model.safetensors")
    ours = OpenClipEncoder("x", None, None, checkpoint=str(folder))
    batch = ours.collate([ours.prepare(photos[0])])
    torch.testing.assert_close(ours(batch) @ model.visual.proj, model.encode_image(batch), rtol=1e-5, atol=1e-5)
    assert ours.preprocessing["resize_mode"] == "squash"
    assert ours.preprocessing["mean"] == [0.4, 0.5, 0.6]


def test_weights_are_looked_for_in_a_folder_as_open_clip_does(tmp_path):
    from vlmatch.encoders.openclip import WEIGHT_NAMES, weights_in

    for name in reversed(WEIGHT_NAMES):
        (tmp_path / name).write_text("")
        assert str(weights_in("x", tmp_path)) == open_clip.factory._find_checkpoint_in_dir(tmp_path)


@pytest.mark.parametrize(("architecture", "pretrained"), [(None, "webli"), ("ViT-B-16-SigLIP", None), (None, None)])
def test_half_a_name_is_refused_since_the_tag_fixes_preprocessing(architecture, pretrained):
    with pytest.raises(VlmatchError, match="give both"):
        OpenClipEncoder("x", architecture, pretrained)


def test_an_unknown_tag_names_those_that_are():
    with pytest.raises(VlmatchError, match=r"pretrained='webbli' .* its tags are webli"):
        OpenClipEncoder("x", "ViT-SO400M-14-SigLIP-384", "webbli")


def test_weights_of_another_model_and_a_file_without_config_are_one_line(tiny, tmp_path):
    tiny("tiny-siglip", SIGLIP_TAG)
    (tmp_path / "weights.safetensors").rename(tmp_path / "siglip.safetensors")
    tiny("tiny-clip", GELU_TAG)
    with pytest.raises(VlmatchError, match=r"do not fit the architecture: .* tensors missing") as caught:
        OpenClipEncoder("x", "tiny-clip", "tag", checkpoint=str(tmp_path / "siglip.safetensors"))
    assert "\n" not in str(caught.value)
    with pytest.raises(VlmatchError, match=r"holds no open_clip_config.json"):
        OpenClipEncoder("x", None, None, checkpoint=str(tmp_path))


def test_damaged_files_are_one_line(tiny, bad_weights):
    tiny("tiny-clip", GELU_TAG)
    with pytest.raises(VlmatchError, match=f"weights '{bad_weights}' can't be read") as caught:
        OpenClipEncoder("x", "tiny-clip", "tag", checkpoint=str(bad_weights))
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(("architecture", "tag"), [("tiny-clip", GELU_TAG), ("tiny-timm", SIGLIP_TAG | {"size": 160})])
@torch.inference_mode()
def test_another_image_size_is_prepared_and_resampled_as_open_clip_does(tiny, photos, architecture, tag):
    _, weights = tiny(architecture, tag)
    ours = OpenClipEncoder("x", architecture, "tag", checkpoint=str(weights), image_size=112)
    own = open_clip.create_model(
        architecture, str(weights), force_image_size=112, force_quick_gelu=bool(tag.get("quick_gelu"))
    ).eval()
    batch = ours.collate([ours.prepare(photos[0])])
    assert batch.shape == (1, 3, 112, 112)
    feature = ours(batch)
    projected = feature @ own.visual.proj if architecture == "tiny-clip" else own.visual.head(feature)
    torch.testing.assert_close(projected, own.encode_image(batch), rtol=1e-5, atol=1e-5)
