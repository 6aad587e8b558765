"""Of an open_clip folder or checkpoint the vision tower is taken alone, and nothing asks for its text tower."""

import json

import open_clip
import pytest
import torch
from safetensors.torch import save_file

from encoders.conftest import prefixed
from vlmatch.encoders.openclip import OpenClipEncoder
from vlmatch.errors import VlmatchError


@pytest.fixture
def folder(tmp_path):
    """An open_clip folder whose text tower is named on the hub, and its vision tower."""
    vision = {"image_size": 32, "layers": 2, "width": 64, "head_width": 16, "patch_size": 8}
    text = {"context_length": 16, "vocab_size": 100, "width": 32, "heads": 2, "layers": 1}
    torch.manual_seed(0)
    model = open_clip.CLIP(embed_dim=16, vision_cfg=vision, text_cfg=text).eval()
    state = {key: value.contiguous() for key, value in model.state_dict().items()}
    save_file(state, tmp_path / "open_clip_model.safetensors")
    on_hub = {"hf_model_name": "example/on-the-hub", "hf_tokenizer_name": "example/on-the-hub", "hf_proj_type": "mlp"}
    preprocess = {"mean": [0.5, 0.5, 0.5], "std": [0.25, 0.25, 0.25]}
    config = {"model_cfg": {"embed_dim": 16, "vision_cfg": vision, "text_cfg": on_hub}, "preprocess_cfg": preprocess}
    (tmp_path / "open_clip_config.json").write_text(json.dumps(config))
    return tmp_path, model


@torch.inference_mode()
def test_only_the_vision_side_of_an_open_clip_folder_is_built(folder, monkeypatch):
    path, model = folder
    monkeypatch.setattr("socket.create_connection", None)  # no text tower is asked for
    encoder = OpenClipEncoder("x", None, None, checkpoint=str(path))
    images = torch.rand(2, 3, 32, 32)
    torch.testing.assert_close(encoder(images) @ model.visual.proj, model.encode_image(images), rtol=1e-5, atol=1e-5)
    assert encoder.taken.startswith(
        "took the 31 tensors of 'visual'; left out transformer.resblocks (12 tensors), ln_final (2)"
    )
    assert encoder.preprocessing["std"] == [0.25, 0.25, 0.25]


@pytest.mark.parametrize("prefix", ["", "visual.", "module.visual.", "state_dict.module.visual."])
@torch.inference_mode()
def test_a_vision_tower_alone_is_enough_for_open_clip(folder, prefix):
    path, model = folder
    save_file(prefixed(prefix, model.visual.state_dict()), path / "open_clip_model.safetensors")
    encoder = OpenClipEncoder("x", None, None, checkpoint=str(path))
    images = torch.rand(2, 3, 32, 32)
    torch.testing.assert_close(encoder(images) @ model.visual.proj, model.encode_image(images), rtol=1e-5, atol=1e-5)


@torch.inference_mode()
def test_a_projection_of_another_size_or_none_does_not_matter(folder):
    path, model = folder
    state = prefixed("visual.", {key: value for key, value in model.visual.state_dict().items() if key != "proj"})
    images = torch.rand(2, 3, 32, 32)
    for others in ({}, {"visual.proj": torch.ones(64, 99)}):
        save_file({**state, **others}, path / "open_clip_model.safetensors")
        encoder = OpenClipEncoder("x", None, None, checkpoint=str(path))
        torch.testing.assert_close(
            encoder(images) @ model.visual.proj, model.encode_image(images), rtol=1e-5, atol=1e-5
        )


def test_an_open_clip_config_with_fewer_layers_than_the_weights_is_refused(folder):
    path, _ = folder
    config = json.loads((path / "open_clip_config.json").read_text())
    config["model_cfg"]["vision_cfg"]["layers"] = 1
    (path / "open_clip_config.json").write_text(json.dumps(config))
    with pytest.raises(VlmatchError, match=r"deeper model .* such as 'transformer.resblocks.1") as caught:
        OpenClipEncoder("x", None, None, checkpoint=str(path))
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("content", ['{"model_cfg": {"embed', "{}", '{"model_cfg": {"embed_dim": 16}}'])
def test_a_broken_open_clip_config_is_one_line(folder, content):
    path, _ = folder
    (path / "open_clip_config.json").write_text(content)
    with pytest.raises(VlmatchError, match=f"open_clip can't build local-dir:{path}") as caught:
        OpenClipEncoder("x", None, None, checkpoint=str(path))
    assert "\n" not in str(caught.value)
