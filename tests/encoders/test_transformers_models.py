"""transformers encoders: tiny models of the real classes, saved and loaded back."""

import json

import pytest
import torch
import transformers
from safetensors.torch import load_file, save_file

from made_adapters import save_adapter
from vlmatch.encoders.transformers_models import TransformersEncoder
from vlmatch.errors import NotHereError, VlmatchError

SMALL = {"hidden_size": 32, "num_hidden_layers": 3, "num_attention_heads": 2, "image_size": 56, "patch_size": 14}
WIDE = SMALL | {"intermediate_size": 64}
CONVNEXT = {"depths": [1, 1, 1, 1], "hidden_sizes": [8, 8, 16, 16]}
SWIN = {"image_size": 56, "embed_dim": 8, "depths": [1, 1], "num_heads": [1, 1], "window_size": 7}
MODELS = {
    "clip": (transformers.CLIPVisionConfig, WIDE),
    "siglip": (transformers.SiglipVisionConfig, WIDE),
    "dinov2": (transformers.Dinov2Config, SMALL),
    "registers": (transformers.Dinov2WithRegistersConfig, SMALL),
    "dinov3": (transformers.DINOv3ViTConfig, WIDE | {"num_register_tokens": 4}),
    "vit": (transformers.ViTConfig, WIDE),
    "deit": (transformers.DeiTConfig, WIDE),
    "depth": (transformers.DPTConfig, WIDE | {"backbone_out_indices": [0, 1, 1, 2]}),
    "ijepa": (transformers.IJepaConfig, WIDE),
    "aimv2": (transformers.Aimv2VisionConfig, WIDE | {"use_head": False}),
    "convnext": (transformers.ConvNextConfig, CONVNEXT),
    "swin": (transformers.SwinConfig, SWIN),
}
OWN_FEATURE = {
    "clip": lambda model, output: output.pooler_output,
    "siglip": lambda model, output: output.pooler_output,
    "dinov2": lambda model, output: output.pooler_output,
    "registers": lambda model, output: output.pooler_output,
    "dinov3": lambda model, output: output.pooler_output,
    "vit": lambda model, output: output.last_hidden_state[:, 0],
    "deit": lambda model, output: output.last_hidden_state[:, 0],
    "depth": lambda model, output: output.last_hidden_state[:, 0],
    "ijepa": lambda model, output: output.last_hidden_state.mean(dim=1),
    "aimv2": lambda model, output: output.last_hidden_state.mean(dim=1),
    "convnext": lambda model, output: output.pooler_output,
    "swin": lambda model, output: output.pooler_output,
}


def save(folder, name: str):
    """A tiny model with random weights and an image processor of its own, in `folder`."""
    config_class, values = MODELS[name]
    torch.manual_seed(0)
    model = transformers.AutoModel.from_config(config_class(**values)).eval()
    model.save_pretrained(folder)
    size = {"height": 56, "width": 56}
    processor = transformers.SiglipImageProcessor(size=size, image_mean=[0.4, 0.5, 0.6], image_std=[0.2, 0.3, 0.4])
    processor.save_pretrained(folder)
    return model, processor


@pytest.mark.parametrize(
    ("name", "rule", "n_tokens"),
    [
        ("clip", "cls", 16),
        ("siglip", "attention pool", 16),
        ("dinov2", "cls", 16),
        ("registers", "cls", 16),
        ("dinov3", "cls", 16),
        ("vit", "cls", 16),
        ("deit", "cls", 16),
        ("depth", "cls", 16),
        ("ijepa", "mean patch", 16),
        ("aimv2", "mean patch", 16),
        ("convnext", "global average", 1),
        ("swin", "global average", 49),
    ],
)
@torch.inference_mode()
def test_the_feature_is_the_librarys_own(tmp_path, photos, name, rule, n_tokens):
    model, processor = save(tmp_path, name)
    ours = TransformersEncoder("x", checkpoint=str(tmp_path))
    batch = ours.collate([ours.prepare(photo) for photo in photos[:2]])
    assert torch.equal(batch, processor(photos[:2], return_tensors="pt")["pixel_values"])
    own = model(pixel_values=batch, output_hidden_states=True)
    torch.testing.assert_close(ours(batch), OWN_FEATURE[name](model, own), rtol=0, atol=1e-5)
    torch.testing.assert_close(ours(batch[:1]), ours(batch)[:1], rtol=0, atol=1e-4)
    assert ours.rule == rule
    tokens = ours.tokens(batch)
    assert tokens.shape[:2] == (2, n_tokens)
    if rule != "global average":
        torch.testing.assert_close(tokens, own.hidden_states[-2][:, -n_tokens:])
    assert ours.preprocessing["image_mean"] == [0.4, 0.5, 0.6]
    assert ours.preprocessing["size"] == {"height": 56, "width": 56}


@pytest.mark.parametrize("kind", ["ViT", "DeiT", "Dinov2"])
@torch.inference_mode()
def test_a_tuned_classifier_is_read_by_its_folder_by_the_file_in_it_and_out_of_a_checkpoint(tmp_path, photos, kind):
    """Its files hold the names of older versions of transformers; ViT's and DeiT's hold no pool."""
    save(tmp_path, kind.lower())
    tuned = getattr(transformers, f"{kind}ForImageClassification")(MODELS[kind.lower()][0](**WIDE)).eval()
    tuned.save_pretrained(tmp_path)
    state = load_file(tmp_path / "model.safetensors")
    torch.save({"state_dict": {f"module.{key}": value for key, value in state.items()}}, tmp_path / "last.ckpt")
    torch.save(tuned.state_dict(), tmp_path / "plain.pt")
    for place in ("", "model.safetensors", "last.ckpt", "plain.pt"):
        ours = TransformersEncoder("x", checkpoint=str(tmp_path / place))
        batch = ours.collate([ours.prepare(photos[0])])
        own = getattr(tuned, kind.lower())(pixel_values=batch).last_hidden_state[:, 0]
        torch.testing.assert_close(ours(batch), own)
        assert "left out" in ours.taken
    type(tuned.config)(**WIDE | {"num_hidden_layers": 2}).save_pretrained(tmp_path)
    with pytest.raises(VlmatchError, match="of a deeper model than the architecture"):
        TransformersEncoder("x", checkpoint=str(tmp_path / "last.ckpt"))


def test_a_folder_without_an_image_processor_says_where_to_get_it(tmp_path):
    """As a trainer leaves it that was given no processor."""
    save(tmp_path, "vit")
    (tmp_path / "preprocessor_config.json").unlink()
    with pytest.raises(VlmatchError, match=r"holds no preprocessor_config.json, .* copy this file from the base model"):
        TransformersEncoder("x", checkpoint=str(tmp_path))


@pytest.mark.parametrize("kind", ["CLIP", "MetaClip2"])
@torch.inference_mode()
def test_the_vision_tower_is_taken_out_of_a_model_of_both_towers(tmp_path, photos, kind):
    text = {"hidden_size": 16, "intermediate_size": 16, "num_hidden_layers": 1, "num_attention_heads": 1}
    config = getattr(transformers, f"{kind}Config")(
        text_config=text | {"vocab_size": 60, "bos_token_id": 1, "eos_token_id": 2},
        vision_config=WIDE,
        projection_dim=24,
    )
    torch.manual_seed(0)
    both = getattr(transformers, f"{kind}Model")(config).eval()
    save(tmp_path, "clip")
    both.save_pretrained(tmp_path)
    ours = TransformersEncoder("x", checkpoint=str(tmp_path))
    batch = ours.collate([ours.prepare(photos[0])])
    normed = both.vision_model(pixel_values=batch).pooler_output
    torch.testing.assert_close(ours(batch), normed, rtol=0, atol=1e-5)
    assert ours.n_parameters() == sum(parameter.numel() for parameter in both.vision_model.parameters())


def test_missing_tensors_are_refused_rather_than_drawn_at_random(tmp_path):
    save(tmp_path, "dinov2")
    state = load_file(tmp_path / "model.safetensors")
    state.pop("encoder.layer.0.norm1.weight")
    for more in ({}, {"classifier.weight": torch.ones(2)}):
        save_file(state | more, tmp_path / "model.safetensors", metadata={"format": "pt"})
        with pytest.raises(VlmatchError, match=r"model.safetensors' lacks 1 tensors .*norm1.weight'"):
            TransformersEncoder("x", checkpoint=str(tmp_path))


@torch.inference_mode()
def test_an_unknown_type_asks_for_its_rule_and_follows_it(tmp_path, photos):
    save(tmp_path, "dinov2")
    model = transformers.AutoModel.from_config(transformers.ViTMSNConfig(**WIDE)).eval()
    model.save_pretrained(tmp_path)
    with pytest.raises(VlmatchError, match=r"model type 'vit_msn' has no known feature rule; give encoder.rule"):
        TransformersEncoder("x", checkpoint=str(tmp_path))
    ours = TransformersEncoder("x", checkpoint=str(tmp_path), rule="mean patch")
    batch = ours.collate([ours.prepare(photos[0])])
    torch.testing.assert_close(
        ours(batch), model(pixel_values=batch).last_hidden_state[:, 1:].mean(dim=1), rtol=0, atol=1e-5
    )
    assert ours.rule == "mean patch"


def test_a_repositorys_own_code_does_not_run_unless_the_config_says_so(tmp_path):
    save(tmp_path, "dinov2")
    (tmp_path / "own_code.py").write_text(f"open(r'{tmp_path / 'ran'}', 'w').close()\nclass Own: pass\n")
    (tmp_path / "config.json").write_text('{"model_type": "own", "auto_map": {"AutoConfig": "own_code.Own"}}')
    with pytest.raises(VlmatchError, match=r"can't be loaded by transformers") as caught:
        TransformersEncoder("x", checkpoint=str(tmp_path))
    assert "\n" not in str(caught.value)
    assert not (tmp_path / "ran").exists()


def test_a_damaged_weight_file_is_one_line(tmp_path):
    save(tmp_path, "dinov2")
    (tmp_path / "model.safetensors").write_bytes(b"damaged")
    with pytest.raises(VlmatchError, match="can't be loaded by transformers") as caught:
        TransformersEncoder("x", checkpoint=str(tmp_path))
    assert "\n" not in str(caught.value)


def test_absent_folders_names_and_weights_say_what_to_do(tmp_path):
    with pytest.raises(NotHereError, match=r"does not exist"):
        TransformersEncoder("x", checkpoint=str(tmp_path / "nowhere"))
    with pytest.raises(VlmatchError, match=r"give encoder.repository or encoder.checkpoint"):
        TransformersEncoder("x")
    with pytest.raises(VlmatchError, match=r"rule='best' is unknown"):
        TransformersEncoder("x", rule="best")
    save(tmp_path, "dinov2")
    (tmp_path / "model.safetensors").unlink()
    with pytest.raises(VlmatchError, match=r"can't be loaded by transformers|holds no model.safetensors"):
        TransformersEncoder("x", checkpoint=str(tmp_path))


@pytest.mark.parametrize("content", ['{"weight_map": {"a": "model-0', '{"weight_map": {"a": 1}}', "[]", "{}"])
def test_an_index_that_can_not_be_read_is_named_in_one_line(tmp_path, content):
    save(tmp_path, "clip")
    (tmp_path / "model.safetensors").rename(tmp_path / "model-00001-of-00002.safetensors")
    index = tmp_path / "model.safetensors.index.json"
    index.write_text(content)
    with pytest.raises(VlmatchError, match=rf"encoder 'x': '{index}'") as caught:
        TransformersEncoder("x", checkpoint=str(tmp_path))
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("listed", ["../elsewhere.safetensors", "/etc/passwd", "inside/a.safetensors"])
def test_an_index_lists_files_of_its_own_folder_alone(tmp_path, listed):
    save(tmp_path, "clip")
    (tmp_path / "model.safetensors").unlink()
    (tmp_path / "model.safetensors.index.json").write_text(json.dumps({"weight_map": {"a": listed}}))
    with pytest.raises(VlmatchError, match=rf"lists {listed}"):
        TransformersEncoder("x", checkpoint=str(tmp_path))


def test_a_shard_that_is_not_there_is_named(tmp_path):
    save(tmp_path, "clip")
    (tmp_path / "model.safetensors").unlink()
    (tmp_path / "model.safetensors.index.json").write_text('{"weight_map": {"a": "model-1.safetensors"}}')
    with pytest.raises(NotHereError, match=rf"encoder 'x': '{tmp_path}' lacks model-1.safetensors"):
        TransformersEncoder("x", checkpoint=str(tmp_path))


@pytest.mark.parametrize("name", ["clip", "siglip", "vit", "ijepa", "aimv2"])
def test_a_processor_of_another_size_than_the_models_names_both_sizes(tmp_path, name):
    save(tmp_path, name)
    transformers.SiglipImageProcessor(size={"height": 70, "width": 70}).save_pretrained(tmp_path)
    with pytest.raises(VlmatchError, match=r"encoder 'x': .*70 x 70 .*56 x 56") as caught:
        TransformersEncoder("x", checkpoint=str(tmp_path))
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("name", ["dinov2", "dinov3", "depth", "convnext", "swin"])
@torch.inference_mode()
def test_a_model_that_takes_any_size_takes_the_processors(tmp_path, photos, name):
    save(tmp_path, name)
    transformers.SiglipImageProcessor(size={"height": 70, "width": 70}).save_pretrained(tmp_path)
    ours = TransformersEncoder("x", checkpoint=str(tmp_path))
    assert torch.isfinite(ours(ours.collate([ours.prepare(photos[0])]))).all()


def test_a_processor_that_keeps_the_aspect_ratio_is_refused_at_once(tmp_path):
    save(tmp_path, "dinov2")
    processor = transformers.BitImageProcessor(size={"shortest_edge": 56}, do_center_crop=False)
    processor.save_pretrained(tmp_path)
    with pytest.raises(VlmatchError, match=r"preprocessor_config.json.* different sizes"):
        TransformersEncoder("x", checkpoint=str(tmp_path))


@torch.inference_mode()
def test_a_named_adapter_gives_what_peft_gives_and_is_hashed(tmp_path, photos):
    model, _ = save(tmp_path / "model", "dinov2")
    plain = TransformersEncoder("x", checkpoint=str(tmp_path / "model"))
    adapted = save_adapter(model, tmp_path / "adapter", ["fc1", "fc2"])
    ours = TransformersEncoder("x", checkpoint=str(tmp_path / "model"), adapter=str(tmp_path / "adapter"))
    batch = ours.collate([ours.prepare(photo) for photo in photos[:2]])
    torch.testing.assert_close(ours(batch), adapted(pixel_values=batch).last_hidden_state[:, 0], rtol=1e-4, atol=1e-4)
    assert not torch.allclose(ours(batch), plain(batch), atol=1e-2)
    assert ours.weights_sha256 != plain.weights_sha256
    assert ours.preprocessing == {**plain.preprocessing, "adapter": ours.adapter.sha256}


@torch.inference_mode()
def test_an_adapter_beside_the_weights_is_refused_unless_it_is_named(tmp_path, photos):
    model, _ = save(tmp_path, "dinov2")
    adapted = save_adapter(model, tmp_path, ["fc1"])
    with pytest.raises(VlmatchError, match=rf"encoder 'x': '{tmp_path}' .*LoRA.* encoder.adapter={tmp_path}") as caught:
        TransformersEncoder("x", checkpoint=str(tmp_path))
    assert "\n" not in str(caught.value)
    ours = TransformersEncoder("x", checkpoint=str(tmp_path), adapter=str(tmp_path))
    batch = ours.collate([ours.prepare(photos[0])])
    torch.testing.assert_close(ours(batch), adapted(pixel_values=batch).last_hidden_state[:, 0], rtol=1e-4, atol=1e-4)
