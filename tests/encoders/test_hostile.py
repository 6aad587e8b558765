"""Files from strangers: pickles that want code are refused by name on every route, and no `_target_` in a file acts."""

import argparse
import json
import os

import open_clip
import pytest
import torch
from safetensors.torch import load_file, save_file

from encoders.test_openclip import GELU_TAG, tiny  # noqa: F401 - a fixture
from encoders.test_transformers_models import save
from vlmatch import objects
from vlmatch.encoders.openclip import OpenClipEncoder
from vlmatch.encoders.timm_models import TimmEncoder
from vlmatch.encoders.torchvision_models import TorchvisionHubEncoder
from vlmatch.encoders.transformers_models import TransformersEncoder
from vlmatch.encoders.weights import read_state_dict
from vlmatch.errors import VlmatchError
from vlmatch.files import sha256_of_file
from vlmatch.pickles import refuse_code
from vlmatch_study.trained_head import HeadEncoder

RESNET = {"architecture": "resnet18", "weights": "IMAGENET1K_V1", "node": "layer4"}
TARGET = {"_target_": "os.mkdir", "path": "ran"}


def by_transformers(path):
    folder = path.parent / "model"
    save(folder, "vit")
    (folder / "model.safetensors").unlink()
    path.rename(folder / "pytorch_model.bin")
    return TransformersEncoder("x", checkpoint=str(folder))


ROUTES = {
    "ours": lambda path: read_state_dict("x", path),
    "timm": lambda path: TimmEncoder("x", "test_vit.r160_in1k", checkpoint=str(path)),
    "torchvision": lambda path: TorchvisionHubEncoder("x", **RESNET, checkpoint=str(path)),
    "open_clip": lambda path: OpenClipEncoder("x", "tiny-clip", "tag", checkpoint=str(path)),
    "transformers": by_transformers,
}


@pytest.mark.parametrize("route", ROUTES)
def test_a_pickle_that_wants_code_is_refused_by_name_and_runs_none(route, hostile_weights, tiny):  # noqa: F811
    if route == "open_clip":
        tiny("tiny-clip", GELU_TAG)
    with pytest.raises(VlmatchError, match=r"encoder 'x': '.*' is a pickle that holds more .*'posix.system'") as caught:
        ROUTES[route](hostile_weights)
    assert "\n" not in str(caught.value)
    assert "refused: get the weights as safetensors" in str(caught.value)


def test_a_program_is_refused_by_name(tmp_path):
    torch.jit.save(torch.jit.script(torch.nn.Linear(2, 2)), tmp_path / "program.pt")
    with pytest.raises(VlmatchError, match=r"'.*program.pt' is .*TorchScript program.*refused"):
        refuse_code("encoder 'x'", tmp_path / "program.pt")


def test_tensors_and_plain_values_are_let_through(tmp_path):
    state = {"weight": torch.ones(2)}
    torch.save({"model": state, "args": argparse.Namespace(lr=1), "epoch": 3}, tmp_path / "new.pth")
    torch.save(state, tmp_path / "older.pth", _use_new_zipfile_serialization=False)
    for name in ("new.pth", "older.pth"):
        refuse_code("encoder 'x'", tmp_path / name)
        assert torch.equal(read_state_dict("x", tmp_path / name)["weight"], state["weight"])


@pytest.fixture
def watched(tmp_path, monkeypatch):
    """A folder to work in, into which a target that acted would put a folder 'ran'; nothing may instantiate at all."""
    monkeypatch.chdir(tmp_path)
    acted = []
    monkeypatch.setattr("hydra.utils.instantiate", lambda *args, **options: acted.append(args))
    monkeypatch.setattr(objects, "build", lambda *args, **options: acted.append(args))
    yield tmp_path
    assert not acted
    assert not (tmp_path / "ran").exists()


def test_a_target_in_a_models_config_does_nothing(watched, tiny):  # noqa: F811
    model, _ = tiny("tiny-clip", GELU_TAG)
    folder = watched / "folder"
    folder.mkdir()
    config = {**TARGET, "model_cfg": open_clip.get_model_config("tiny-clip"), "preprocess_cfg": {"mean": [0.5] * 3}}
    save_file(model.state_dict(), folder / "open_clip_model.safetensors")
    (folder / "open_clip_config.json").write_text(json.dumps(config))
    OpenClipEncoder("x", None, None, checkpoint=str(folder))
    config["model_cfg"]["text_cfg"] |= TARGET  # not used at all
    (folder / "open_clip_config.json").write_text(json.dumps(config))
    OpenClipEncoder("x", None, None, checkpoint=str(folder))
    config["model_cfg"]["vision_cfg"] |= TARGET
    (folder / "open_clip_config.json").write_text(json.dumps(config))
    with pytest.raises(VlmatchError, match=r"open_clip can't build .*_target_"):
        OpenClipEncoder("x", None, None, checkpoint=str(folder))


def test_a_target_in_the_metadata_or_hyperparameters_of_a_checkpoint_does_nothing(watched):
    state = {
        "layers.0.weight": torch.eye(2),
        "layers.0.bias": torch.zeros(2),
        "mean": torch.zeros(2),
        "std": torch.ones(2),
    }
    save_file(state, watched / "head.safetensors", metadata={"hyper_parameters": json.dumps(TARGET), **TARGET})
    digest = sha256_of_file(watched / "head.safetensors")
    HeadEncoder("x", [], checkpoint=str(watched / "head.safetensors"), sha256=digest)
    torch.save({"state_dict": state, "hyper_parameters": TARGET}, watched / "lightning.ckpt")
    assert read_state_dict("x", watched / "lightning.ckpt").keys() == load_file(watched / "head.safetensors").keys()


def test_code_of_a_repository_is_named_in_the_log(tmp_path, caplog):
    save(tmp_path, "vit")
    TransformersEncoder("x", checkpoint=str(tmp_path))
    assert "trust_remote_code" not in caplog.text
    TransformersEncoder("x", checkpoint=str(tmp_path), trust_remote_code=True)
    assert f"encoder 'x': trust_remote_code=true, the code in '{tmp_path}' will run" in caplog.text


def test_code_beside_the_weights_runs_only_where_the_yaml_says_so(tmp_path):
    save(tmp_path, "vit")
    config = json.loads((tmp_path / "config.json").read_text())
    config |= {"model_type": "strange", "auto_map": {"AutoConfig": "strange.Strange", "AutoModel": "strange.Strange"}}
    (tmp_path / "config.json").write_text(json.dumps(config))
    (tmp_path / "strange.py").write_text(f"import os\nos.mkdir({str(tmp_path / 'ran')!r})\nclass Strange: pass\n")
    with pytest.raises(VlmatchError, match=r"can't be loaded by transformers"):
        TransformersEncoder("x", checkpoint=str(tmp_path))
    assert not os.path.exists(tmp_path / "ran")
