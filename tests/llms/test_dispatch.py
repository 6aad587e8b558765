"""A model spread over devices embeds as the whole one, and stays where it is when Lightning moves its module."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from accelerate import dispatch_model

from vlmatch.llms.language_model import LanguageModel
from vlmatch.objects import build

SaveTiny = Callable[..., tuple[Path, Any]]
OUTER = {"model.norm": "cpu", "model.rotary_emb": "cpu", "lm_head": "disk"}
PARTS = ["model.embed_tokens", "model.layers.0", "model.layers.1", "model.layers.2"]
LAYERS_ON_DISK = dict(zip(PARTS, ["cpu", "cpu", "disk", "disk"], strict=True))
TABLE_ON_DISK = {"model.embed_tokens": "disk", "model.layers": "cpu"}


@torch.inference_mode()
def embed(model: LanguageModel, captions: list[str]) -> torch.Tensor:
    """Embeds captions in one batch."""
    return model(model.collate(captions))


@pytest.mark.parametrize("places", [LAYERS_ON_DISK, TABLE_ON_DISK], ids=["layers on disk", "table on disk"])
def test_parts_on_disk_embed_as_the_whole_even_after_a_move(
    save_tiny: SaveTiny, captions: list[str], places: dict[str, str]
) -> None:
    folder, _ = save_tiny()
    whole = LanguageModel("tiny", repository=str(folder))
    target = "vlmatch.llms.language_model.LanguageModel"
    spread = build({"_target_": target, "name": "tiny", "repository": str(folder), "device_map": {**places, **OUTER}})
    assert spread.dispatched is True
    assert spread.n_parameters() == whole.n_parameters()
    torch.testing.assert_close(embed(spread, captions), embed(whole, captions), rtol=1e-5, atol=1e-5)
    module = torch.nn.ModuleDict({"model": spread}).to("meta").float()
    torch.testing.assert_close(embed(module["model"], captions), embed(whole, captions), rtol=1e-5, atol=1e-5)


def test_accelerates_own_dispatch_is_noticed(save_tiny: SaveTiny, captions: list[str], tmp_path: Path) -> None:
    folder, _ = save_tiny()
    model = LanguageModel("tiny", repository=str(folder))
    expected = embed(model, captions)
    dispatch_model(model.causal_lm, {**LAYERS_ON_DISK, **OUTER}, main_device="cpu", offload_dir=tmp_path / "offload")
    assert model.dispatched is True
    torch.testing.assert_close(embed(model, captions), expected, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("device_map", [None, {"": "cpu"}, "auto"])
def test_on_one_device_a_model_is_not_dispatched_and_moves(
    save_tiny: SaveTiny, captions: list[str], device_map: Any
) -> None:
    if device_map == "auto" and torch.cuda.device_count() > 1:
        pytest.skip("several GPUs: 'auto' spreads")
    folder, _ = save_tiny()
    model = LanguageModel("tiny", repository=str(folder), device_map=device_map)
    assert model.dispatched is False
    assert embed(model, captions).shape == (4, 32)
    assert {parameter.device.type for parameter in model.to("meta").parameters()} == {"meta"}
