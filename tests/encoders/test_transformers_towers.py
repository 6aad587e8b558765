"""The tower inside folders of VLMs, of SigLIP 2 NaFlex and of InternViT: tiny models of the real classes."""

import functools
import json
import logging
import re

import pytest
import torch
import transformers
from safetensors.torch import load_file, save_file

from vlmatch.encoders.transformers_models import TransformersEncoder
from vlmatch.errors import VlmatchError

SMALL = {"hidden_size": 32, "num_hidden_layers": 3, "num_attention_heads": 2, "intermediate_size": 64}
SQUARE = {"image_size": 56, "patch_size": 14}
LLAMA = {
    "hidden_size": 32, "intermediate_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2,
    "num_key_value_heads": 2, "vocab_size": 50,
}  # fmt: skip


def save_processor(folder, **options):
    """An image processor for squares of 56 pixels."""
    transformers.SiglipImageProcessor(size={"height": 56, "width": 56}, **options).save_pretrained(folder)


@pytest.fixture
def llava(tmp_path):
    """A small LLaVA, saved in shards, and its tower."""
    torch.manual_seed(0)
    vision = transformers.CLIPVisionConfig(**SMALL, **SQUARE)
    config = transformers.LlavaConfig(vision_config=vision, text_config=transformers.LlamaConfig(**LLAMA))
    model = transformers.LlavaForConditionalGeneration(config).eval()
    model.save_pretrained(tmp_path, max_shard_size="40KB")
    save_processor(tmp_path)
    return tmp_path, model.model.vision_tower


def test_what_transformers_tells_is_afterwards_as_before(llava):
    settings = transformers.utils.logging
    before = settings.get_verbosity(), settings.is_progress_bar_enabled()
    settings.set_verbosity_info()
    settings.enable_progress_bar()
    try:
        TransformersEncoder("x", checkpoint=str(llava[0]))
        assert (settings.get_verbosity(), settings.is_progress_bar_enabled()) == (logging.INFO, True)
    finally:
        settings.set_verbosity(before[0])
        (settings.enable_progress_bar if before[1] else settings.disable_progress_bar)()


@torch.inference_mode()
def test_the_tower_is_taken_out_of_a_llava_folder_and_nothing_else_is_read(llava, photos, monkeypatch):
    folder, tower = llava
    read = []
    from vlmatch.encoders import transformers_towers

    original = transformers_towers.tensors_of
    monkeypatch.setattr(transformers_towers, "tensors_of", lambda *given: read.extend(got := original(*given)) or got)
    ours = TransformersEncoder("x", checkpoint=str(folder))
    assert len(read) == len(tower.state_dict())
    assert all("vision" in name for name in read)
    batch = ours.collate([ours.prepare(photo) for photo in photos[:2]])
    torch.testing.assert_close(ours(batch), tower(pixel_values=batch).pooler_output)
    assert ours.rule == "cls"
    assert re.search(r"took the \d+ tensors of '.*vision.*'; left out .*language_model", ours.taken)
    assert ours.n_parameters() == sum(parameter.numel() for parameter in tower.parameters())


@torch.inference_mode()
def test_llavas_own_code_names_the_tower_and_a_folder_with_its_config_serves(llava, photos):
    """As LLaVA-NeXT's trainers leave it: 'model.vision_tower.vision_tower.vision_model...', no vision_config."""
    folder, tower = llava
    for file in folder.glob("model*"):
        file.unlink()
    state = {f"model.vision_tower.vision_tower.vision_model.{key}": value for key, value in tower.state_dict().items()}
    save_file({**state, "lm_head.weight": torch.ones(2)}, folder / "model.safetensors")
    (folder / "config.json").write_text('{"model_type": "llava_llama", "mm_vision_tower": "openai/a-tower"}')
    with pytest.raises(
        VlmatchError, match=r"names its tower, mm_vision_tower='openai/a-tower'.*put the config"
    ) as caught:
        TransformersEncoder("x", checkpoint=str(folder))
    assert "trust_remote_code" not in str(caught.value)
    tower.config.save_pretrained(folder)  # the advice, followed
    ours = TransformersEncoder("x", checkpoint=str(folder))
    batch = ours.collate([ours.prepare(photos[0])])
    torch.testing.assert_close(ours(batch), tower(pixel_values=batch).pooler_output)
    assert "left out lm_head" in ours.taken


@torch.inference_mode()
def test_a_siglip_without_its_pool_gives_the_mean_patch(tmp_path, photos):
    vision = transformers.SiglipVisionConfig(**SMALL, **SQUARE, vision_use_head=False)
    config = transformers.LlavaConfig(vision_config=vision, text_config=transformers.LlamaConfig(**LLAMA))
    model = transformers.LlavaForConditionalGeneration(config).eval()
    model.save_pretrained(tmp_path)
    save_processor(tmp_path)
    ours = TransformersEncoder("x", checkpoint=str(tmp_path))
    batch = ours.collate([ours.prepare(photos[0])])
    torch.testing.assert_close(ours(batch), model.model.vision_tower(pixel_values=batch).last_hidden_state.mean(1))
    assert ours.rule == "mean patch"


QWENS = {
    "Qwen2VL": {"embed_dim": 32, "hidden_size": 32, "mlp_ratio": 2},
    "Qwen2_5_VL": {"hidden_size": 32, "out_hidden_size": 32, "intermediate_size": 48, "fullatt_block_indexes": [1]},
    "Qwen3VL": {
        "hidden_size": 32, "out_hidden_size": 32, "intermediate_size": 48, "deepstack_visual_indexes": [0],
        "num_position_embeddings": 64, "patch_size": 14,
    },
}  # fmt: skip


@pytest.mark.parametrize("family", QWENS)
@torch.inference_mode()
def test_the_tower_of_a_qwen_vl_takes_images_of_their_own_shapes(tmp_path, photos, family):
    rope = {"rope_type": "default", "mrope_section": [2, 3, 3], "rope_theta": 1e4}
    text = LLAMA | {"rope_parameters": rope, "head_dim": 16}
    vision = QWENS[family] | {"depth": 2, "num_heads": 2}
    config = getattr(transformers, f"{family}Config")(vision_config=vision, text_config=text)
    model = getattr(transformers, f"{family}ForConditionalGeneration")(config).eval()
    model.save_pretrained(tmp_path)
    processor = transformers.Qwen2VLImageProcessor()
    processor.save_pretrained(tmp_path)
    ours = TransformersEncoder("x", checkpoint=str(tmp_path))
    tower = model.model.visual
    assert isinstance(ours.model, type(tower))
    images = [photos[0], photos[1].resize((80, 200))]
    batch = ours.collate([ours.prepare(image) for image in images])
    for image, feature in zip(images, ours(batch), strict=True):
        alone = processor(images=image, return_tensors="pt")
        own = tower(alone["pixel_values"], grid_thw=alone["image_grid_thw"]).last_hidden_state.mean(dim=0)
        torch.testing.assert_close(feature, own, rtol=1e-3, atol=1e-5)
    assert ours.tokens(ours.collate([ours.prepare(photos[0])] * 2)).shape == (2, 96, 32)
    with pytest.raises(VlmatchError, match=r"images of different shapes give \d+ to \d+ tokens"):
        ours.tokens(batch)


@torch.inference_mode()
def test_siglip_2_naflex_gives_the_librarys_own_feature(tmp_path, photos):
    model = transformers.Siglip2VisionModel(transformers.Siglip2VisionConfig(**SMALL, patch_size=16, num_patches=64))
    model.eval().save_pretrained(tmp_path)
    processor = transformers.Siglip2ImageProcessor(patch_size=16, max_num_patches=64)
    processor.save_pretrained(tmp_path)
    ours = TransformersEncoder("x", checkpoint=str(tmp_path))
    images = [photos[0], photos[1].resize((80, 200))]
    batch = ours.collate([ours.prepare(image) for image in images])
    torch.testing.assert_close(ours(batch), model(**processor(images=images, return_tensors="pt")).pooler_output)
    assert ours.rule == "attention pool"
    assert ours.n_layers == 3
    wide = ours.collate([ours.prepare(photos[0])] * 2)
    assert ours.tokens(wide).shape == (2, int(wide["pixel_attention_mask"][0].sum()), 32)


INTERN_NAMES = (  # from transformers' names to OpenGVLab's
    ("embeddings.cls_token", "embeddings.class_embedding"),
    ("embeddings.position_embeddings", "embeddings.position_embedding"),
    ("embeddings.patch_embeddings.projection", "embeddings.patch_embedding"),
    ("encoder.layer.", "encoder.layers."),
    ("attention.projection_layer", "attn.proj"),
    ("attention.", "attn."),
    ("layernorm_before", "norm1"),
    ("layernorm_after", "norm2"),
    ("lambda_1", "ls1"),
    ("lambda_2", "ls2"),
)


def original_names(model):
    """The state dict of an InternVL tower as OpenGVLab names it, with joint queries, keys and values."""
    state = {}
    for name, value in model.state_dict().items():
        state[functools.reduce(lambda key, pair: key.replace(*pair), INTERN_NAMES, name)] = value
    for key in [key for key in state if ".q_proj." in key]:
        parts = [state.pop(key.replace("q_proj", f"{part}_proj")) for part in "qkv"]
        state[key.replace("q_proj", "qkv")] = torch.cat(parts)
    return state


@pytest.mark.parametrize("prefix", ["", "vision_model."])
@torch.inference_mode()
def test_intern_vit_by_its_own_names_needs_no_code_of_its_repository(tmp_path, photos, prefix):
    torch.manual_seed(0)
    config = transformers.InternVLVisionConfig(**SMALL, **SQUARE, attention_bias=True, use_qk_norm=True)
    model = transformers.InternVLVisionModel(config).eval()
    for parameter in model.parameters():
        torch.nn.init.normal_(parameter, std=0.3)
    state = {prefix + key: value for key, value in original_names(model).items()}
    save_file(
        state | ({"language_model.lm_head.weight": torch.ones(2)} if prefix else {}), tmp_path / "model.safetensors"
    )
    save_processor(tmp_path)
    own = {**SMALL, **SQUARE, "model_type": "intern_vit_6b", "qkv_bias": True, "qk_normalization": True}
    code = {"auto_map": {"AutoConfig": "nothing.Nothing"}}
    stated = {"model_type": "internvl_chat", "vision_config": own} if prefix else own
    (tmp_path / "config.json").write_text(json.dumps({**stated, **code}))
    ours = TransformersEncoder("x", checkpoint=str(tmp_path))
    batch = ours.collate([ours.prepare(photo) for photo in photos[:2]])
    torch.testing.assert_close(ours(batch), model(pixel_values=batch).last_hidden_state[:, 0])
    assert ours.tokens(batch).shape == (2, 16, 32)
    assert bool(ours.taken) == bool(prefix)


@torch.inference_mode()
def test_internvl_prepares_the_whole_image_and_no_grid_of_crops(tmp_path, photos):
    vision = transformers.InternVLVisionConfig(**SMALL, **SQUARE)
    text = transformers.Qwen2Config(**LLAMA)
    config = transformers.InternVLConfig(vision_config=vision, text_config=text, image_token_id=3)
    model = transformers.InternVLForConditionalGeneration(config).eval()
    model.save_pretrained(tmp_path)
    processor = transformers.GotOcr2ImageProcessor(size={"height": 56, "width": 56}, crop_to_patches=True)
    processor.save_pretrained(tmp_path)
    ours = TransformersEncoder("x", checkpoint=str(tmp_path))
    batch = ours.collate([ours.prepare(photo) for photo in photos[:2]])
    whole = processor(images=photos[:2], crop_to_patches=False, return_tensors="pt")["pixel_values"]
    torch.testing.assert_close(batch, whole)
    own = model.model.vision_tower(pixel_values=whole).last_hidden_state
    torch.testing.assert_close(ours(batch), own[:, 0])
    assert ours.tokens(batch).shape == (2, 16, 32)
    assert ours.preprocessing["crop_to_patches"] is False


@pytest.mark.parametrize("kind", ["vit", "clip", "siglip"])
def test_a_config_with_fewer_layers_than_its_weights_is_refused(tmp_path, kind):
    config = {
        "vit": transformers.ViTConfig, "clip": transformers.CLIPVisionConfig, "siglip": transformers.SiglipVisionConfig,
    }[kind](**SMALL, **SQUARE)  # fmt: skip
    transformers.AutoModel.from_config(config).save_pretrained(tmp_path)
    save_processor(tmp_path)
    stated = json.loads((tmp_path / "config.json").read_text())
    (tmp_path / "config.json").write_text(json.dumps({**stated, "num_hidden_layers": 2}))
    with pytest.raises(VlmatchError, match=r"encoder 'x': .*are of a deeper model .* 16 tensors such as '.*layers?.2"):
        TransformersEncoder("x", checkpoint=str(tmp_path))
    (tmp_path / "config.json").write_text(json.dumps({**stated, "num_hidden_layers": 0}))
    with pytest.raises(VlmatchError, match=r"config.json' says num_hidden_layers=0"):
        TransformersEncoder("x", checkpoint=str(tmp_path))


@torch.inference_mode()
def test_a_prefix_that_transformers_does_not_know_is_found_and_averaged_weights_are_taken_by_choice(tmp_path, photos):
    torch.manual_seed(0)
    model = transformers.SiglipVisionModel(transformers.SiglipVisionConfig(**SMALL, **SQUARE)).eval()
    model.save_pretrained(tmp_path)
    save_processor(tmp_path)
    state = load_file(tmp_path / "model.safetensors")
    both = {f"net.{key}": value for key, value in state.items()} | {f"ema.{key}": 0 * v for key, v in state.items()}
    save_file({key: value.contiguous() for key, value in both.items()}, tmp_path / "model.safetensors")
    ours = TransformersEncoder("x", checkpoint=str(tmp_path))
    batch = ours.collate([ours.prepare(photos[0])])
    torch.testing.assert_close(ours(batch), model(pixel_values=batch).pooler_output)
    assert ours.taken.startswith("took the 64 tensors of 'net'; left out ema.encoder (48 tensors), ema.head (11)")
    averaged = TransformersEncoder("x", checkpoint=str(tmp_path), entry="ema")
    assert torch.equal(averaged(batch), torch.zeros(1, 32))


@torch.inference_mode()
def test_a_checkpoint_beside_a_config_is_read_by_its_own_path_and_a_head_is_said(tmp_path, photos):
    torch.manual_seed(0)
    tuned = transformers.ViTForImageClassification(transformers.ViTConfig(**SMALL, **SQUARE, num_labels=3)).eval()
    tuned.save_pretrained(tmp_path)
    save_processor(tmp_path)
    ours = TransformersEncoder("x", checkpoint=str(tmp_path))
    assert re.search(r"left out (pooler|classifier) \(2 tensors\)", ours.taken)
    state = {f"model.vit.{key}": value + 1 for key, value in tuned.vit.state_dict().items()}
    torch.save({"state_dict": state, "epoch": 1}, tmp_path / "last.ckpt")
    later = TransformersEncoder("x", checkpoint=str(tmp_path / "last.ckpt"))
    batch = ours.collate([ours.prepare(photos[0])])
    torch.testing.assert_close(ours(batch), tuned.vit(pixel_values=batch).last_hidden_state[:, 0])
    assert not torch.allclose(later(batch), ours(batch))
    assert "of 'state_dict.model.vit'" in later.taken
    assert later.weights_sha256 != ours.weights_sha256
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "last.ckpt").rename(tmp_path / "elsewhere" / "last.ckpt")
    with pytest.raises(VlmatchError, match=r"elsewhere/config.json' can't be read .*give a folder with it"):
        TransformersEncoder("x", checkpoint=str(tmp_path / "elsewhere" / "last.ckpt"))


@pytest.mark.parametrize("content", ['{"model_type": "vit"', "[1]", ""])
def test_a_config_that_can_not_be_read_is_named(tmp_path, content):
    transformers.AutoModel.from_config(transformers.ViTConfig(**SMALL, **SQUARE)).save_pretrained(tmp_path)
    save_processor(tmp_path)
    (tmp_path / "config.json").write_text(content)
    with pytest.raises(VlmatchError, match=rf"encoder 'x': '{tmp_path}/config.json' can't be read") as caught:
        TransformersEncoder("x", checkpoint=str(tmp_path))
    assert "\n" not in str(caught.value)


def test_code_is_spoken_of_only_where_the_folder_has_some(tmp_path):
    transformers.AutoModel.from_config(transformers.ViTConfig(**SMALL, **SQUARE)).save_pretrained(tmp_path)
    save_processor(tmp_path)
    (tmp_path / "model.safetensors").write_bytes(b"damaged")
    with pytest.raises(VlmatchError, match=r"copy or download it again") as caught:
        TransformersEncoder("x", checkpoint=str(tmp_path))
    assert "trust_remote_code" not in str(caught.value)
    (tmp_path / "config.json").write_text('{"model_type": "own", "auto_map": {"AutoConfig": "own.Own"}}')
    with pytest.raises(VlmatchError, match=r"if you trust that code, give encoder.trust_remote_code=true"):
        TransformersEncoder("x", checkpoint=str(tmp_path))
