"""Tiny models of real architectures, saved as transformers saves them, and a tiny GGUF file in two packages."""

import hashlib
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from vlmatch import paths
from vlmatch.packages.unpacked import write_list

CAPTIONS = ["A frog.", "A small green frog sits on a leaf by the pond.", "x", "A US 25 cent piece called a quarter."]


@pytest.fixture(scope="session")
def captions() -> list[str]:
    """Captions of very different lengths."""
    return CAPTIONS


@pytest.fixture(scope="session")
def byte_tokens() -> list[str]:
    """The 256 symbols of byte-level BPE, in a fixed order."""
    from tokenizers.pre_tokenizers import ByteLevel

    return sorted(ByteLevel.alphabet())


@pytest.fixture(scope="session")
def make_tokenizer(byte_tokens: list[str]) -> Callable[..., Any]:
    """Byte-level tokenizers, with or without BOS and a padding token, padding on either side."""

    def make(*, bos: bool = False, pad: bool = True, side: str = "right") -> Any:
        from tokenizers import Tokenizer, decoders, models, pre_tokenizers, processors
        from transformers import PreTrainedTokenizerFast

        vocabulary = {token: number for number, token in enumerate(["<s>", "</s>", "<pad>", *byte_tokens])}
        tokenizer = Tokenizer(models.BPE(vocab=vocabulary, merges=[]))
        tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
        tokenizer.decoder = decoders.ByteLevel()
        if bos:
            tokenizer.post_processor = processors.TemplateProcessing(single="<s> $A", special_tokens=[("<s>", 0)])
        padding = {"pad_token": "<pad>"} if pad else {}
        return PreTrainedTokenizerFast(
            tokenizer_object=tokenizer, bos_token="<s>", eos_token="</s>", padding_side=side, **padding
        )

    return make


def tiny_model(family: str) -> Any:
    """A causal LM of a real class with random weights."""
    from transformers import GPT2Config, GPT2LMHeadModel, LlamaConfig, LlamaForCausalLM, Qwen2Config, Qwen2ForCausalLM

    torch.manual_seed(0)
    sizes = {"vocab_size": 259, "hidden_size": 32, "intermediate_size": 48, "num_hidden_layers": 3}
    heads = {"num_attention_heads": 4, "num_key_value_heads": 2}
    if family == "llama":
        return LlamaForCausalLM(LlamaConfig(**sizes, **heads, initializer_range=0.3)).eval()
    if family == "qwen2":
        return Qwen2ForCausalLM(Qwen2Config(**sizes, **heads, tie_word_embeddings=True, initializer_range=0.3)).eval()
    return GPT2LMHeadModel(GPT2Config(vocab_size=259, n_embd=32, n_layer=3, n_head=4, initializer_range=0.3)).eval()


@pytest.fixture(scope="session")
def save_tiny(
    tmp_path_factory: pytest.TempPathFactory, make_tokenizer: Callable[..., Any]
) -> Callable[..., tuple[Path, Any]]:
    """Saves a tiny model with its tokenizer; gives the folder and the model."""

    def save(family: str = "llama", *, shard_size: str = "5GB", **tokenizer: Any) -> tuple[Path, Any]:
        folder = tmp_path_factory.mktemp(family)
        model = tiny_model(family)
        model.save_pretrained(folder, max_shard_size=shard_size)
        make_tokenizer(**tokenizer).save_pretrained(folder)
        return folder, model

    return save


def write_gguf(path: Path, *, byte_tokens: list[str], quantised: str | None = None, stated: bool = False) -> None:
    """A Llama of two layers with random weights, float32 or `quantised`, and a byte-level tokenizer.

    Of a quantised file the header says so only where it is `stated`.
    """
    from gguf import GGMLQuantizationType, GGUFWriter, LlamaFileType
    from gguf.quants import quantize

    width, hidden, layers, heads, groups = 32, 64, 2, 4, 2
    tokens = ["<s>", "</s>", *byte_tokens, byte_tokens[0] + byte_tokens[1]]
    random = np.random.default_rng(0)
    writer = GGUFWriter(str(path), "llama")
    writer.add_name("tiny")
    writer.add_context_length(128)
    writer.add_embedding_length(width)
    writer.add_block_count(layers)
    writer.add_feed_forward_length(hidden)
    writer.add_head_count(heads)
    writer.add_head_count_kv(groups)
    writer.add_layer_norm_rms_eps(1e-5)
    writer.add_rope_dimension_count(width // heads)
    writer.add_rope_freq_base(10000.0)
    writer.add_vocab_size(len(tokens))
    writer.add_tokenizer_model("gpt2")
    writer.add_token_list(tokens)
    writer.add_token_types([3, 3] + [1] * (len(tokens) - 2))
    writer.add_token_merges([f"{byte_tokens[0]} {byte_tokens[1]}"])
    writer.add_bos_token_id(0)
    writer.add_eos_token_id(1)
    shapes = {"token_embd": (len(tokens), width), "output_norm": (width,)}
    for layer in range(layers):
        shapes |= {
            f"blk.{layer}.attn_q": (width, width),
            f"blk.{layer}.attn_k": (width // heads * groups, width),
            f"blk.{layer}.attn_v": (width // heads * groups, width),
            f"blk.{layer}.attn_output": (width, width),
            f"blk.{layer}.ffn_gate": (hidden, width),
            f"blk.{layer}.ffn_up": (hidden, width),
            f"blk.{layer}.ffn_down": (width, hidden),
            f"blk.{layer}.attn_norm": (width,),
            f"blk.{layer}.ffn_norm": (width,),
        }
    if stated:
        writer.add_file_type(LlamaFileType[f"MOSTLY_{quantised}"])
    for name, shape in shapes.items():
        tensor = random.normal(scale=0.3, size=shape).astype(np.float32)
        if quantised and len(shape) == 2:
            kind = GGMLQuantizationType[quantised]
            writer.add_tensor(f"{name}.weight", quantize(tensor, kind), raw_dtype=kind)
        else:
            writer.add_tensor(f"{name}.weight", tensor)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


@pytest.fixture(scope="session")
def save_gguf(byte_tokens: list[str]) -> Callable[..., None]:
    """Writes a tiny GGUF file to a path: `write_gguf` with its tokens."""
    return partial(write_gguf, byte_tokens=byte_tokens)


@pytest.fixture
def gguf_settings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, save_gguf: Callable[..., None]) -> dict[str, Any]:
    """The yaml keys of a GGUF in two chunks, each in a package that is unpacked in a cache of its own."""
    monkeypatch.setenv("VLMATCH_CACHE", str(tmp_path / "cache"))
    whole = tmp_path / "tiny.gguf"
    save_gguf(whole)
    content = whole.read_bytes()
    packages, members = [], []
    for number, chunk in enumerate([content[:9000], content[9000:]]):
        package = {"name": f"tiny-part{number}", "version": "1.0", "sha256": f"{number}" * 64}
        member = f"tiny_part{number}/tiny.gguf.part{number}"
        folder = paths.cache() / "packages" / f"{package['name']}-1.0"
        (folder / member).parent.mkdir(parents=True)
        (folder / member).write_bytes(chunk)
        write_list(folder, package["sha256"])
        packages.append(package)
        members.append(member)
    return {"packages": packages, "members": members, "sha256": hashlib.sha256(content).hexdigest()}
