"""LLMs of many architectures: they embed captions alike alone and in a batch, and a VLM trains with them.

The families of conf/llm have tests of their own (tests/llms/test_every_llm.py). These have no yaml, but users may name
a folder of one of them (`llm.repository`). Each is a tiny model with random weights.
"""

from typing import Any

import pytest
import torch
from transformers import AutoConfig

import made_vlms
from vlm.test_model import batch_of, plain_losses
from vlmatch.errors import VlmatchError
from vlmatch.vlm.building import build_vlm
from vlmatch.vlm.tokens import IMAGE
from vlmatch.vlm.training_memory import kept_by_llm

SIZES = {**made_vlms.SIZES, **made_vlms.HEADS, "pad_token_id": 2, "bos_token_id": 0, "eos_token_id": 1}
NARROW = {**SIZES, "head_dim": 8}
WINDOW = {"sliding_window": 16, "layer_types": ["sliding_attention", "full_attention"]}
EXPERTS = {"num_experts": 4, "num_local_experts": 4, "num_experts_per_tok": 2, "moe_intermediate_size": 16}
MAMBA2 = {"mamba_n_heads": 8, "mamba_d_head": 8, "mamba_d_state": 8, "mamba_chunk_size": 16}
BLOCKS = {"num_hidden_layers": 2, "num_attention_heads": 4, "initializer_range": 0.3, "hidden_size": 32}
DEEPSEEK = {
    **{"n_routed_experts": 4, "n_group": 2, "topk_group": 1, "n_shared_experts": 1, "first_k_dense_replace": 1},
    **{"q_lora_rank": 8, "kv_lora_rank": 8, "qk_rope_head_dim": 4, "qk_nope_head_dim": 8, "v_head_dim": 8},
    **{"num_key_value_heads": 4, "num_experts_per_tok": 2, "moe_intermediate_size": 16},
}
ARCHITECTURES: dict[str, dict[str, Any]] = {
    "bamba": {**SIZES, **MAMBA2, "attn_layer_indices": [1]},
    "bloom": BLOCKS,
    "cohere2": {**SIZES, **WINDOW},
    "deepseek_v3": {**SIZES, **DEEPSEEK},
    "falcon": BLOCKS,
    "falcon_h1": {**SIZES, **MAMBA2, "mamba_d_ssm": 64},
    "gemma4_text": {**NARROW, **WINDOW, "hidden_size_per_layer_input": 0},
    "glm4": NARROW,
    "gpt2": BLOCKS,
    "gpt_neox": BLOCKS,
    "gpt_oss": {**NARROW, **EXPERTS, **WINDOW},
    "gptj": {**BLOCKS, "rotary_dim": 4},
    "granite": SIZES,
    "granitemoehybrid": {
        **{**SIZES, **MAMBA2, "num_local_experts": 0, "shared_intermediate_size": 48},
        "layer_types": ["mamba", "attention"],
    },
    "hunyuan_v1_dense": NARROW,
    "lfm2": {**SIZES, "layer_types": ["conv", "full_attention"]},
    "mamba": {"hidden_size": 32, "num_hidden_layers": 2, "state_size": 8},
    "mixtral": {**SIZES, **EXPERTS},
    "mpt": {"d_model": 32, "n_layers": 2, "n_heads": 4, "max_seq_len": 512},
    "olmo2": SIZES,
    "olmo3": {**SIZES, **WINDOW},
    "opt": {**BLOCKS, "ffn_dim": 48, "word_embed_proj_dim": 32, "init_std": 0.3},
    "qwen2_moe": {**SIZES, **EXPERTS, "shared_expert_intermediate_size": 16},
    "qwen3_5_text": {**NARROW, **made_vlms.LINEAR},
    "qwen3_moe": {**NARROW, **EXPERTS},
    "qwen3_next": {**NARROW, **EXPERTS, **made_vlms.LINEAR, "shared_expert_intermediate_size": 16},
    "smollm3": SIZES,
    "stablelm": SIZES,
}
CAPTIONS = ("a", "a cat on a mat", "two dogs in the snow under a tree")
HALF = ("deepseek_v3", "gpt_oss", "mixtral", "qwen2_moe", "qwen3_moe", "qwen3_next")
"""Mixtures of experts, whose kernel on the meta device wants bfloat16."""
NOT_ESTIMATED = ("bloom", "mamba")
NOT_GENERATING = ("bamba", "falcon_h1")


@pytest.fixture(scope="module", params=ARCHITECTURES)
def llm(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Any:
    config = AutoConfig.for_model(request.param, vocab_size=259, **ARCHITECTURES[request.param])
    return made_vlms.tiny_llm_of(tmp_path_factory.mktemp("llm"), request.param, config)


@torch.inference_mode()
@pytest.mark.parametrize("side", ["left", "right"])
def test_a_caption_is_embedded_alike_alone_and_in_a_batch(llm: Any, side: str) -> None:
    llm.tokenizer.padding_side = side
    alone = [llm(llm.collate([llm.prepare(caption)])) for caption in CAPTIONS]
    together = llm(llm.collate([llm.prepare(caption) for caption in CAPTIONS]))
    torch.testing.assert_close(together, torch.cat(alone), atol=3e-5, rtol=1e-4)


def test_the_loss_equals_a_plain_forward_and_the_memory_is_estimated(llm: Any) -> None:
    vlm = build_vlm(made_vlms.recipe(), llm, None, (1, 6))
    batch, samples, data = batch_of(vlm, cached=False)
    with torch.no_grad():
        plain = plain_losses(vlm, samples, data)
    assert vlm.loss(batch).item() == pytest.approx(sum(plain) / len(plain), abs=1e-4)
    if vlm.cacheable(data.prefixes()):
        batch, _, _ = batch_of(vlm, cached=True)
        assert vlm.loss(batch).item() == pytest.approx(sum(plain) / len(plain), abs=1e-4)
    if llm.name not in NOT_ESTIMATED:
        dtype = torch.bfloat16 if llm.name in HALF else torch.float32
        assert kept_by_llm(vlm, dtype, trained=True, checkpointed=False) > 0


def test_texts_are_generated_after_pictures_or_refused_in_one_line(llm: Any) -> None:
    vlm = build_vlm(made_vlms.recipe(), llm, None, (1, 6))
    prompt = [5, *[IMAGE] * vlm.tokens_per_image, 6]
    if llm.name in NOT_GENERATING:
        with pytest.raises(
            VlmatchError, match=rf"^llm '{llm.name}': transformers does not let .* asks no free answers"
        ):
            vlm.generate(torch.randn(1, 1, 6), [prompt], max_new_tokens=2)
    else:
        assert len(vlm.generate(torch.randn(1, 1, 6), [prompt], max_new_tokens=2)) == 1
