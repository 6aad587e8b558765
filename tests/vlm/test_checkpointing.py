"""Gradient checkpointing of the LLM saves memory and changes no loss, whether the LLM learns or is frozen."""

from pathlib import Path
from typing import Any

import pytest
import torch
import transformers
from transformers.modeling_layers import GradientCheckpointingLayer

import made_vlms
from made_vlms import CONFIGS, HEADS, SIZES, TRAINER
from vlmatch.vlm.fit import Training

STEPS = 4
WITH_DROPOUT = {
    "llama": (transformers.LlamaConfig, {**SIZES, **HEADS, "attention_dropout": 0.5}),
    "gpt2": (
        transformers.GPT2Config,
        {"n_embd": 32, "n_layer": 2, "n_head": 4, "resid_pdrop": 0.5, "embd_pdrop": 0.5, "attn_pdrop": 0.5},
    ),
    "falcon": (  # its layers draw dropout themselves, by their own mode
        transformers.FalconConfig,
        {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 4, "hidden_dropout": 0.5},
    ),
}


def trained(folder: Path, family: str, **stage: Any) -> tuple[list[float], int]:
    """The losses of a short training, and how often its first layer was computed."""
    stages = [made_vlms.stage(steps=STEPS, **stage)]
    vlm = made_vlms.tiny_vlm(folder / "llm", family, stages=stages)
    layer = next(each for each in vlm.causal_lm.modules() if isinstance(each, GradientCheckpointingLayer))
    innermost = next(each for each in layer.modules() if not list(each.children()))
    computed: list[str] = []
    innermost.register_forward_hook(lambda _module, _inputs, output: computed.append(output.device.type))
    training = Training(vlm, made_vlms.about(stages=stages), folder / "run", TRAINER)
    return list(training.fit([made_vlms.training_data(vlm)]).losses), computed.count("cpu")  # others: estimates


@pytest.mark.parametrize("family", WITH_DROPOUT)
def test_a_frozen_llm_draws_no_dropout_with_checkpointing_either(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, family: str
) -> None:
    monkeypatch.setitem(CONFIGS, family, WITH_DROPOUT[family])
    plain, _ = trained(tmp_path / "plain", family)
    saving, computed = trained(tmp_path / "saving", family, gradient_checkpointing=True)
    torch.testing.assert_close(torch.tensor(saving), torch.tensor(plain), atol=1e-5, rtol=0)
    assert computed == 2 * STEPS, "each step computes the layer again in the backward pass"


def test_an_llm_that_learns_draws_the_same_dropout_with_checkpointing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    learning = {"trains": {"projector": 1e-2, "llm": 1e-3}}
    without, _ = trained(tmp_path / "without", "llama", **learning)
    monkeypatch.setitem(CONFIGS, "llama", WITH_DROPOUT["llama"])
    plain, once = trained(tmp_path / "plain", "llama", **learning)
    saving, twice = trained(tmp_path / "saving", "llama", **learning, gradient_checkpointing=True)
    torch.testing.assert_close(torch.tensor(saving), torch.tensor(plain), atol=1e-5, rtol=0)
    assert (once, twice) == (STEPS, 2 * STEPS)
    assert abs(plain[0] - without[0]) > 1e-3, "dropout acts"
