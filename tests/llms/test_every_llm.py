"""Every LLM's yaml, proved on a tiny model of its architecture: the embedding is transformers' own hidden state.

A new yaml joins by itself; one of a new family needs a line in FAMILIES.
"""

import io
import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml
from safetensors.torch import load_file
from sentencepiece import SentencePieceTrainer

from vlmatch import paths
from vlmatch.objects import build

YAMLS = sorted(path for path in (paths.conf() / "llm").glob("*.yaml") if path.stem != "precomputed")  # no model
SIZES = {
    "vocab_size": 320,
    "hidden_size": 32,
    "intermediate_size": 48,
    "num_hidden_layers": 3,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "initializer_range": 0.3,
    "bos_token_id": 0,
    "eos_token_id": 1,
    "pad_token_id": 2,
}
TIED = {"tie_word_embeddings": True}
LAYERS = ["sliding_attention", "sliding_attention", "full_attention"]
SHORT_WINDOW = {"head_dim": 8, "sliding_window": 16, "layer_types": LAYERS, **TIED}
LONG_ROPE = {"rope_type": "longrope", "short_factor": [1.1] * 4, "long_factor": [2.0] * 4, "rope_theta": 10000.0}
LONG = {"rope_parameters": LONG_ROPE, "original_max_position_embeddings": 64, "max_position_embeddings": 512}
# The start of a yaml's name: the model type in the config.json of its repository, and what is peculiar to it.
FAMILIES: dict[str, tuple[str, dict[str, Any]]] = {
    "gemma2-": ("gemma2", SHORT_WINDOW),
    "gemma3[-_]": ("gemma3_text", SHORT_WINDOW),
    r"llama3\.1-": ("llama", {}),
    r"llama3\.2-": ("llama", TIED),
    "mistral-": ("mistral", {"sliding_window": None}),
    "phi2": ("phi", {"partial_rotary_factor": 0.5}),
    r"phi3\.5-": ("phi3", LONG),
    "phi4-": ("phi3", {"partial_rotary_factor": 0.75, **TIED}),
    r"qwen2\.5-": ("qwen2", {}),
    "qwen3-": ("qwen3", {"head_dim": 16, **TIED}),
    "smollm2": ("llama", TIED),
    "tinyllama-": ("llama", {}),
    "vicuna-": ("llama", {"num_key_value_heads": 4}),
}


def stand_in(name: str) -> Any:
    """A causal LM of the yaml's architecture with random weights."""
    from transformers import AutoConfig, AutoModelForCausalLM

    found = [family for pattern, family in FAMILIES.items() if re.match(pattern, name)]
    assert len(found) == 1, f"conf/llm/{name}.yaml is of no family known here, or of two; add one line to FAMILIES"
    model_type, peculiar = found[0]
    torch.manual_seed(0)
    model = AutoModelForCausalLM.from_config(AutoConfig.for_model(model_type, **{**SIZES, **peculiar}))
    return model.eval()


def as_vicuna(folder: Path, captions: list[str]) -> None:
    """Pickled weights and a SentencePiece model in the place of safetensors and tokenizer.json, as Vicuna's hub has."""
    torch.save(load_file(folder / "model.safetensors"), folder / "pytorch_model.bin")
    (folder / "model.safetensors").unlink()
    model = io.BytesIO()
    SentencePieceTrainer.train(
        sentence_iterator=iter(captions), model_writer=model, model_type="bpe", vocab_size=320, byte_fallback=True,
        hard_vocab_limit=False, minloglevel=2,
    )  # fmt: skip
    (folder / "tokenizer.model").write_bytes(model.getvalue())
    config = {"tokenizer_class": "LlamaTokenizer", "add_bos_token": True, "bos_token": "<s>", "eos_token": "</s>"}
    (folder / "tokenizer_config.json").write_text(json.dumps({**config, "unk_token": "<unk>", "legacy": False}))


def saved(
    name: str,
    folder: Path,
    captions: list[str],
    make_tokenizer: Callable[..., Any],
    save_gguf: Callable[..., None],
) -> dict[str, str]:
    """Saves a stand-in as its hub repository would have it; gives the yaml key that names it."""
    if name == "gguf":
        save_gguf(folder / "tiny.gguf")
        return {"checkpoint": str(folder / "tiny.gguf")}
    stand_in(name).save_pretrained(folder)
    if name.startswith("vicuna"):
        as_vicuna(folder, captions)
    else:
        make_tokenizer(bos=name.startswith(("llama", "gemma", "mistral"))).save_pretrained(folder)
    return {"repository": str(folder)}


@torch.inference_mode()
@pytest.mark.parametrize("file", YAMLS, ids=lambda file: file.stem)
def test_the_embedding_is_transformers_hidden_state_of_the_last_token_on_either_side(
    file: Path, tmp_path: Path, make_tokenizer: Callable[..., Any], save_gguf: Callable[..., None], captions: list[str]
) -> None:
    config = yaml.safe_load(file.read_text(encoding="utf-8"))
    where = saved(file.stem, tmp_path, captions, make_tokenizer, save_gguf)
    model = build({**config, **where, "dtype": "float32"})
    wanted = []
    for caption in captions:
        tokens = model.tokenizer(caption, return_tensors="pt")
        wanted.append(model.causal_lm(**tokens, output_hidden_states=True).hidden_states[-2][0, -1])
    for side in ("left", "right"):
        model.tokenizer.padding_side = side
        embedded = model(model.collate([model.prepare(caption) for caption in captions]))
        torch.testing.assert_close(embedded, torch.stack(wanted), rtol=1e-5, atol=1e-5)
    assert model.preprocessing["dtype"] == "float32"
    assert model.preprocessing["bos"] is file.stem.startswith(("llama", "gemma", "mistral", "vicuna"))
    assert build({**config, **where}).causal_lm.dtype == getattr(torch, config["dtype"])
