"""Tiny VLMs over random LLMs of real architectures, and data for them."""

from pathlib import Path
from typing import Any

import pytest
import torch
import transformers

from vlmatch.llms.language_model import LanguageModel
from vlmatch.settings.buildable import EncoderSettings, LlmSettings
from vlmatch.settings.recipe import RecipeSettings, StageSettings
from vlmatch.settings.work import TrainerSettings
from vlmatch.vlm.building import build_vlm
from vlmatch.vlm.fit import Training
from vlmatch.vlm.model import VLM
from vlmatch.vlm.saved import Description
from vlmatch.vlm.stage import Stage
from vlmatch.vlm.tokens import IMAGE, answered, encode
from vlmatch.vlm.training_data import Listed, Sample, TrainingData
from vlmatch.vlm.training_log import TrainingLog

SIZES = {"hidden_size": 32, "intermediate_size": 48, "num_hidden_layers": 2, "initializer_range": 0.3}
HEADS = {"num_attention_heads": 4, "num_key_value_heads": 2}
FEW = {"num_hidden_layers": 2, "num_attention_heads": 4}
LINEAR = {
    "layer_types": ["linear_attention", "full_attention"],
    **{"linear_num_key_heads": 2, "linear_num_value_heads": 4, "linear_key_head_dim": 8, "linear_value_head_dim": 8},
}
CONFIGS: dict[str, tuple[Any, dict[str, Any]]] = {
    "llama": (transformers.LlamaConfig, {**SIZES, **HEADS}),
    "qwen2": (transformers.Qwen2Config, {**SIZES, **HEADS, "tie_word_embeddings": True}),
    "gemma3": (transformers.Gemma3TextConfig, {**SIZES, **HEADS, "head_dim": 8, "sliding_window": 16}),
    "gemma4": (transformers.Gemma4TextConfig, {**SIZES, **HEADS, "head_dim": 8, "hidden_size_per_layer_input": 4}),
    "qwen3_5": (transformers.Qwen3_5TextConfig, {**SIZES, **HEADS, "head_dim": 8, "pad_token_id": 2, **LINEAR}),
    "opt": (transformers.OPTConfig, {"hidden_size": 32, "ffn_dim": 48, "word_embed_proj_dim": 32, **FEW}),
    "bloom": (transformers.BloomConfig, {"hidden_size": 32, **FEW}),
    "mamba": (transformers.MambaConfig, {"hidden_size": 32, "state_size": 8, "num_hidden_layers": 2}),
}
TRAINER = TrainerSettings(
    accelerator="cpu", devices=1, strategy="auto", precision="32-true", batch_size=4, shard_size=4, num_workers=0
)
LORA = {"r": 2, "alpha": 4, "dropout": 0.2, "targets": ["q_proj", "v_proj"]}
PROMPTS = ("caption:<image>", "its kind:<image>")


def byte_tokenizer(**special: str) -> transformers.PreTrainedTokenizerFast:
    """One token a byte, after BOS, EOS and further special tokens by their keyword of transformers."""
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers

    special = {"bos_token": "<s>", "eos_token": "</s>", **special}
    symbols = [*special.values(), *sorted(pre_tokenizers.ByteLevel.alphabet())]
    tokenizer = Tokenizer(models.BPE(vocab={token: number for number, token in enumerate(symbols)}, merges=[]))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    return transformers.PreTrainedTokenizerFast(tokenizer_object=tokenizer, **special)


def tiny_llm(folder: Path, family: str = "llama") -> LanguageModel:
    """A random LLM with a byte-level tokenizer."""
    config_class, values = CONFIGS[family]
    return tiny_llm_of(folder, family, config_class(vocab_size=259, **values))


def tiny_llm_of(folder: Path, name: str, config: transformers.PreTrainedConfig) -> LanguageModel:
    """A random LLM of a configuration with 259 tokens, with a byte-level tokenizer."""
    torch.manual_seed(1)
    transformers.AutoModelForCausalLM.from_config(config).save_pretrained(folder)
    byte_tokenizer(pad_token="<pad>").save_pretrained(folder)
    return LanguageModel(name, repository=str(folder))


def recipe(**changes: Any) -> RecipeSettings:
    """A recipe of one stage over cached features."""
    whole = {
        "name": "tiny",
        "version": 1,
        "data": "made",
        "seed": 0,
        "visual": {"what": "feature", "cached": True},
        "projector": {"kind": "mlp2x_gelu_normalised", "tokens": 2, "standardised": True},
        "lora": None,
        "prompts": {},
        "stages": [stage()],
    }
    return RecipeSettings.of("recipe", {**whole, **changes})


def stage(**changes: Any) -> StageSettings:
    """The recipe's stage, with other settings."""
    whole = {
        "name": "align",
        "data": {"_target_": "none"},
        "trains": {"projector": 1e-2},
        "steps": 12,
        "epochs": None,
        "batch_size": 4,
        "accumulate": 1,
        "warm_up": 0.1,
        "weight_decay": 0.0,
        "clip": 1.0,
        "gradient_checkpointing": False,
        "workers": 0,
    }
    return StageSettings.of("recipe.stages.0", {**whole, **changes})


def encoder(**changes: Any) -> EncoderSettings:
    """An encoder by its settings alone."""
    return EncoderSettings.of("encoder", {"_target_": "x", "name": "e", **changes})


def llm(**changes: Any) -> LlmSettings:
    """An LLM by its settings alone."""
    return LlmSettings.of("llm", {"_target_": "x", "name": "l", **changes})


def tiny_vlm(folder: Path, family: str = "llama", **changes: Any) -> VLM:
    """A VLM over cached features of width 6."""
    return build_vlm(recipe(**changes), tiny_llm(folder, family), None, (1, 6))


def training_data(vlm: VLM, n: int = 20, seed: int = 0) -> TrainingData:
    """n pictures, each with a caption and a kind of different lengths, in two parts."""
    generator = torch.Generator().manual_seed(seed)
    pictures = torch.randn(n, 1, 6, generator=generator)
    tokenizer = vlm.tokenizer
    parts = {}
    for weight, prompt, answers in (
        (0.75, PROMPTS[0], [f"no {i * 37}" for i in range(n)]),
        (0.25, PROMPTS[1], ["x"] * n),
    ):
        ids = encode(tokenizer, prompt, special=True)
        parts[prompt] = (
            weight,
            Listed(
                Sample(f"{i}", answered(ids, [*encode(tokenizer, answer, special=False), 1]), (i,))
                for i, answer in enumerate(answers)
            ),
        )
    return TrainingData(parts, pictures)


def expanded_prompt(vlm: VLM) -> list[int]:
    """A prompt with the places of one picture's tokens."""
    ids = encode(vlm.tokenizer, PROMPTS[0], special=True)
    return [i for i in ids for _ in range(vlm.tokens_per_image if i == IMAGE else 1)]


def about(**changes: Any) -> Description:
    """What is kept beside the weights."""
    return Description(format=1, encoder=encoder(), llm=llm(), recipe=recipe(**changes), shape=[1, 6])


def run(folder: Path, **changes: Any) -> tuple[VLM, TrainingLog]:
    """Train a tiny VLM by the recipe with these changes, below `folder`, or go on with it."""
    vlm = tiny_vlm(folder / "llm", **changes)
    stages = changes.get("stages", [stage()])
    datasets = [training_data(vlm) for _ in stages]
    log = Training(vlm, about(**changes), folder / "run", TRAINER).fit(datasets)
    return vlm, log


def killed(monkeypatch: pytest.MonkeyPatch, at: int, folder: Path, **changes: Any) -> None:
    """Run until micro-batch number `at`, counted from 1 in this process."""
    seen = 0

    def die(*_: object) -> None:
        nonlocal seen
        seen += 1
        if seen == at:
            raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr(Stage, "on_train_batch_start", die)
        with pytest.raises((KeyboardInterrupt, SystemExit)):
            run(folder, **changes)
