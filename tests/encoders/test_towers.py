"""A user's own tower is found in whatever checkpoint its trainer left, and what is left out is said."""

import json
import logging
import re
from pathlib import Path

import numpy as np
import pytest
import timm
import torch
from safetensors.torch import save_file

from encoders.conftest import RunsCode, prefixed
from vlmatch.encoders.timm_models import TimmEncoder
from vlmatch.encoders.torchvision_models import TorchvisionHubEncoder
from vlmatch.encoders.towers import DoesNotFitError, tower_in
from vlmatch.errors import NotHereError, VlmatchError

MODEL = "test_vit.r160_in1k"


@pytest.fixture(scope="module")
def model():
    """A small ViT of timm with random weights."""
    torch.manual_seed(0)
    return timm.create_model(MODEL).eval()


def loaded(path, **options):
    """The encoder with these weights, and one small image."""
    return TimmEncoder("x", MODEL, checkpoint=str(path), **options), torch.ones(1, 3, 160, 160)


@torch.inference_mode()
def same(encoder, images, model):
    """Whether the encoder gives what timm feeds its classifier."""
    return torch.allclose(encoder(images), model.forward_head(model.forward_features(images), pre_logits=True))


@pytest.mark.parametrize(
    "prefix",
    ["", "module.", "model.", "backbone.", "encoder.", "visual.", "vision_tower.", "_orig_mod.", "module._orig_mod.",
     "model.vision_tower.vision_tower."],
)  # fmt: skip
@pytest.mark.parametrize("wrapper", [None, "state_dict", "model", "model_ema", "ema_state_dict", "teacher", "student"])
def test_a_tower_is_found_under_every_prefix_and_in_every_entry(model, wrapper, prefix, tmp_path):
    state = prefixed(prefix, model.state_dict())
    wrapped = state if wrapper is None else prefixed(f"{wrapper}.", state)
    own = timm.create_model(MODEL, num_classes=0).state_dict()
    taken = tower_in("x", tmp_path, wrapped, own)
    assert all(torch.equal(taken.state[key], model.state_dict()[key]) for key in own)
    assert {name.rpartition("head.")[2] for name in taken.left_out} == {"weight", "bias"}


@pytest.mark.parametrize("suffix", [".pt", ".pth", ".ckpt", ".bin"])
def test_a_training_checkpoint_with_its_optimizer_gives_the_tower_and_says_so(model, tmp_path, caplog, suffix):
    state = prefixed("model.", model.state_dict())
    optimizer = {"state": {0: {"exp_avg": torch.zeros(3)}}, "param_groups": [{"lr": 0.1}]}
    path = tmp_path / f"last{suffix}"
    torch.save({"epoch": 3, "state_dict": state | {"loss.weight": torch.ones(2)}, "optimizer": optimizer}, path)
    with caplog.at_level(logging.WARNING):
        encoder, images = loaded(path)
    assert same(encoder, images, model)
    line = caplog.messages[-1]
    assert re.search(
        r"encoder 'x': checkpoint '.*last.*': took the 78 tensors of 'state_dict.model'; left out .*head", line
    )
    for words in ("head (2 tensors)", "optimizer.state", "state_dict.loss"):
        assert words in line
    assert encoder.taken in line


@pytest.mark.parametrize("classes", [10, 0])
def test_another_head_or_none_is_no_part_of_the_tower(model, tmp_path, classes):
    tuned = timm.create_model(MODEL, num_classes=classes).eval()
    save_file(tuned.state_dict(), tmp_path / "a.safetensors")
    encoder, images = loaded(tmp_path / "a.safetensors")
    assert same(encoder, images, tuned)
    assert bool(encoder.taken) == (classes > 0)


@pytest.mark.parametrize("side", [160, 96])
def test_a_model_that_was_tuned_to_pool_its_patches_pools_them(tmp_path, side):
    """As MAE's authors and `timm train --gp avg` do: the last norm then follows the pool, and is called fc_norm."""
    tuned = timm.create_model(MODEL, global_pool="avg", num_classes=4, img_size=side).eval()
    torch.save({"model": tuned.state_dict()}, tmp_path / "a.pth")
    encoder = TimmEncoder("x", MODEL, checkpoint=str(tmp_path / "a.pth"), image_size=side)
    assert same(encoder, torch.ones(1, 3, side, side), tuned)
    assert encoder.rule == "mean patch"
    encoder, _ = loaded(tmp_path / "a.pth")  # resampled, where the sizes differ
    assert torch.equal(encoder.trunk.fc_norm.weight, tuned.fc_norm.weight)


def test_averaged_weights_are_taken_by_choice_alone(model, tmp_path):
    averaged = timm.create_model(MODEL).eval()
    torch.save(
        {"state_dict": model.state_dict(), "state_dict_ema": prefixed("module.", averaged.state_dict())},
        tmp_path / "a.pth.tar",
    )
    encoder, images = loaded(tmp_path / "a.pth.tar")
    assert same(encoder, images, model)
    assert "left out state_dict_ema" in encoder.taken
    encoder, images = loaded(tmp_path / "a.pth.tar", entry="state_dict_ema")
    assert same(encoder, images, averaged)
    with pytest.raises(VlmatchError, match=r"entry='ema' .*choose one: \+encoder.entry=state_dict or") as caught:
        loaded(tmp_path / "a.pth.tar", entry="ema")
    assert "\n" not in str(caught.value)


def test_dinos_teacher_goes_before_its_student_and_two_equal_entries_are_asked_about(model, tmp_path):
    other = timm.create_model(MODEL).state_dict()
    own = timm.create_model(MODEL, num_classes=0).state_dict()
    both = prefixed("teacher.backbone.", model.state_dict()) | prefixed("student.module.backbone.", other)
    assert tower_in("x", tmp_path, both, own).entry == "teacher.backbone"
    assert tower_in("x", tmp_path, both, own, "student").entry == "student.module.backbone"
    both = prefixed("first.", model.state_dict()) | prefixed("second.", other)
    with pytest.raises(VlmatchError, match=r"several times; choose one: \+encoder.entry=first or \+encoder.entry=sec"):
        tower_in("x", tmp_path, both, own)


def test_names_that_compilers_and_shards_of_a_model_put_in_anywhere_are_left_out_of_account(model, tmp_path):
    for wrapper in ("_orig_mod", "_fsdp_wrapped_module", "_checkpoint_wrapped_module"):
        state = {key.replace("blocks.", f"{wrapper}.blocks."): value for key, value in model.state_dict().items()}
        state = {re.sub(r"(blocks\.\d)\.", rf"\1.{wrapper}.", key): value for key, value in state.items()}
        save_file(state, tmp_path / "a.safetensors")
        encoder, images = loaded(tmp_path / "a.safetensors")
        assert same(encoder, images, model)


def test_a_folder_with_one_checkpoint_names_it(model, tmp_path):
    torch.save(model.state_dict(), tmp_path / "last.ckpt")
    with pytest.raises(NotHereError, match=r"holds no model.safetensors .*give the path of its 'last.ckpt' itself"):
        loaded(tmp_path)


def test_half_precision_and_shards_are_read(model, tmp_path):
    state = {key: value.half().contiguous() for key, value in model.state_dict().items()}
    names = {key: f"model-0000{1 + place % 2}-of-00002.safetensors" for place, key in enumerate(state)}
    for file in set(names.values()):
        save_file({key: value for key, value in state.items() if names[key] == file}, tmp_path / file)
    (tmp_path / "model.safetensors.index.json").write_text(json.dumps({"weight_map": names}))
    encoder, images = loaded(tmp_path)
    halved = timm.create_model(MODEL).eval()
    halved.load_state_dict(state)
    assert same(encoder, images, halved)
    assert len(encoder.weights_sha256) == 64


def test_a_folder_as_timm_saves_it_fixes_preprocessing_and_names_its_architecture(tmp_path, photos):
    tuned = timm.create_model(MODEL, num_classes=4, img_size=96).eval()
    tuned.pretrained_cfg |= {"mean": [0.1, 0.2, 0.3], "std": [0.4, 0.5, 0.6], "input_size": [3, 96, 96]}
    timm.models.save_for_hf(tuned, tmp_path, model_config={}, safe_serialization="both")
    encoder = TimmEncoder("x", MODEL, checkpoint=str(tmp_path))
    assert encoder.preprocessing["mean"] == [0.1, 0.2, 0.3]
    assert encoder.prepare(photos[0]).shape == (3, 96, 96)
    assert same(encoder, torch.ones(1, 3, 96, 96), tuned)
    with pytest.raises(
        VlmatchError, match=r"config.json' describes timm's test_vit, not test_vit2; give encoder.model="
    ):
        TimmEncoder("x", "test_vit2.r160_in1k", checkpoint=str(tmp_path))
    (tmp_path / "config.json").write_text('{"architecture')
    with pytest.raises(VlmatchError, match=r"config.json' can't be read .*copy or download it again"):
        TimmEncoder("x", MODEL, checkpoint=str(tmp_path))


@pytest.mark.parametrize("value", [np.float64(0.5), np.int64(3), np.float32(1), Path("/a/b")])
def test_plain_values_that_trainers_keep_are_read_and_code_is_not(model, tmp_path, value):
    torch.save({"state_dict": model.state_dict(), "best": value}, tmp_path / "a.ckpt")
    encoder, images = loaded(tmp_path / "a.ckpt")
    assert same(encoder, images, model)
    torch.save({"state_dict": model.state_dict(), "best": RunsCode(f"touch {tmp_path}/ran")}, tmp_path / "b.ckpt")
    with pytest.raises(VlmatchError, match=r"b.ckpt' is a pickle that holds more than tensors"):
        loaded(tmp_path / "b.ckpt")
    assert not (tmp_path / "ran").exists()


def test_a_deeper_tower_is_refused_and_a_shallower_one_lacks_tensors(tmp_path):
    shallow = timm.create_model("test_vit", depth=4)
    deep = timm.create_model("test_vit", depth=8)
    save_file(deep.state_dict(), tmp_path / "deep.safetensors")
    with pytest.raises(VlmatchError, match=r"deeper model .* such as 'blocks.6."):
        loaded(tmp_path / "deep.safetensors")
    save_file(shallow.state_dict(), tmp_path / "shallow.safetensors")
    with pytest.raises(DoesNotFitError, match=r"of 78 tensors missing, first 'blocks.4.norm1.weight'"):
        loaded(tmp_path / "shallow.safetensors")
    other = timm.create_model("test_vit", embed_dim=96)
    save_file(other.state_dict(), tmp_path / "wide.safetensors")
    with pytest.raises(VlmatchError, match=r"another shape, first 'cls_token', \(1, 1, 96\) instead of \(1, 1, 64\)"):
        loaded(tmp_path / "wide.safetensors")


@pytest.mark.parametrize("inner", ["", "base_layer."])
def test_an_adapter_that_is_not_merged_is_refused(model, tmp_path, inner):
    layer = "blocks.1.attn.qkv."
    state = {key.replace(layer, layer + inner): value for key, value in model.state_dict().items()}
    state |= {f"{layer}lora_A": torch.ones(4, 64), f"{layer}lora_B": torch.ones(192, 4)}
    torch.save({"model": state}, tmp_path / "last.pt")
    with pytest.raises(VlmatchError, match=r"encoder 'x': .* LoRA adapter that is not merged .*'blocks\.1\.attn\.qkv"):
        loaded(tmp_path / "last.pt")
    elsewhere = {**model.state_dict(), "text.layer.lora_A": torch.ones(4, 64)}  # of another tower
    save_file(elsewhere, tmp_path / "other.safetensors")
    loaded(tmp_path / "other.safetensors")


@torch.inference_mode()
def test_position_embeddings_of_another_image_size_are_resampled_as_timm_does_and_said(tmp_path):
    small = timm.create_model(MODEL, img_size=96, num_classes=7).eval()
    save_file(small.state_dict(), tmp_path / "small.safetensors")
    encoder, images = loaded(tmp_path / "small.safetensors")
    assert "resampled pos_embed from (1, 37, 64) to (1, 101, 64)" in encoder.taken
    small.set_input_size(160)
    assert same(encoder, images, small)


def test_a_file_of_something_else_says_what_it_holds(tmp_path):
    save_file({"ln_final.weight": torch.ones(2), "text.a.b": torch.ones(2)}, tmp_path / "a.safetensors")
    with pytest.raises(VlmatchError, match=r"hold no tensor of it, but ln_final \(1 tensors\), text.a \(1\)") as caught:
        loaded(tmp_path / "a.safetensors")
    assert "\n" not in str(caught.value)


@torch.inference_mode()
def test_original_names_that_timm_converts_are_still_read(tmp_path):
    kept = timm.create_model("test_convnext.r160_in1k", num_classes=5).eval()
    original = {  # as Facebook named them
        key.replace("stem.", "downsample_layers.0.").replace("mlp.fc1", "pwconv1").replace("mlp.fc2", "pwconv2"): value
        for key, value in kept.state_dict().items()
    }
    original = {re.sub(r"stages.(\d).blocks.(\d)", r"stages.\1.\2", key): value for key, value in original.items()}
    original = {
        re.sub(r"stages.(\d).downsample.(\d)", r"downsample_layers.\1.\2", key): v for key, v in original.items()
    }
    original = {key.replace("conv_dw", "dwconv").replace("head.fc", "head"): v for key, v in original.items()}
    original = {key.replace("head.norm", "norm"): value for key, value in original.items()}
    torch.save({"model": original}, tmp_path / "a.pth")
    encoder = TimmEncoder("x", "test_convnext.r160_in1k", checkpoint=str(tmp_path / "a.pth"))
    images = torch.rand(1, 3, 160, 160)
    torch.testing.assert_close(encoder(images), kept.forward_head(kept.forward_features(images), pre_logits=True))


def test_torchvisions_models_are_found_in_a_checkpoint_too(tmp_path):
    from torchvision.models import resnet18

    torch.save({"state_dict": prefixed("model.", resnet18(num_classes=3).state_dict())}, tmp_path / "a.ckpt")
    settings = {"architecture": "resnet18", "weights": "IMAGENET1K_V1", "node": "layer4"}
    encoder = TorchvisionHubEncoder("x", checkpoint=str(tmp_path / "a.ckpt"), **settings)
    assert encoder.taken == "took the 120 tensors of 'state_dict.model'; left out fc (2 tensors)"
