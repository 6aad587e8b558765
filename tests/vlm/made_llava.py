"""Tiny VLMs whose encoders are loaded by transformers."""

import torch
import transformers

from vlmatch.encoders.transformers_models import TransformersEncoder
from vlmatch.llms.language_model import LanguageModel
from vlmatch.vlm.model import VLM
from vlmatch.vlm.projector import Projector
from vlmatch.vlm.visual import VisualInput

WIDE = {
    "hidden_size": 24,
    "intermediate_size": 32,
    "num_hidden_layers": 3,
    "num_attention_heads": 2,
    "image_size": 56,
    "patch_size": 14,
}
MEANS = {"image_mean": [0.4, 0.5, 0.6], "image_std": [0.2, 0.3, 0.4]}
SQUARE = {"height": 56, "width": 56}
TOWERS = {
    "clip": transformers.CLIPVisionConfig(**WIDE),
    "siglip": transformers.SiglipVisionConfig(**WIDE),
    "dinov2": transformers.Dinov2Config(**WIDE),
    "vit": transformers.ViTConfig(**WIDE),
    "registers": transformers.Dinov2WithRegistersConfig(**WIDE),
    "convnext": transformers.ConvNextConfig(depths=[1, 1, 1, 1], hidden_sizes=[8, 8, 16, 16]),
}
SIZES = {"hidden_size": 32, "intermediate_size": 48, "num_hidden_layers": 2, "initializer_range": 0.2}
HEADS = {"num_attention_heads": 4, "num_key_value_heads": 2}
LLMS = {
    "llama": (transformers.LlamaConfig, {**SIZES, **HEADS}),
    "qwen2": (transformers.Qwen2Config, {**SIZES, **HEADS, "tie_word_embeddings": True, "initializer_range": 0.3}),
    "gemma2": (transformers.Gemma2Config, {**SIZES, **HEADS, "head_dim": 8, "final_logit_softcapping": 2.0}),
    "phi": (transformers.PhiConfig, {**SIZES, "num_attention_heads": 4}),
}
CHAT = (
    "{{ bos_token }}{% for message in messages %}[{{ message.role }}]{{ message.content }}"
    "{% if message.role == 'assistant' %}{{ eos_token }}{% endif %}{% endfor %}"
    "{% if add_generation_prompt %}[assistant]{% endif %}"
)


def tower(folder, name: str) -> TransformersEncoder:
    torch.manual_seed(0)
    transformers.AutoModel.from_config(TOWERS[name]).save_pretrained(folder)
    processor = (
        transformers.CLIPImageProcessor(size={"shortest_edge": 56}, crop_size=SQUARE, **MEANS)
        if name == "clip"
        else transformers.SiglipImageProcessor(size=SQUARE, **MEANS)
    )
    processor.save_pretrained(folder)
    return TransformersEncoder(name, checkpoint=str(folder))


def llm(
    folder, name: str, *, rows: int = 259, bos: bool = True, chat: str | None = None, space: bool = False
) -> LanguageModel:
    """A tiny LLM with a byte-level tokenizer of 259 tokens that adds no BOS by itself, and `rows` embeddings.

    space: as SentencePiece's, the tokenizer puts a space in front of every text.
    """
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers

    torch.manual_seed(1)
    config_class, values = LLMS[name]
    model = transformers.AutoModelForCausalLM.from_config(config_class(vocab_size=rows, **values))
    model.save_pretrained(folder)
    symbols = sorted(pre_tokenizers.ByteLevel.alphabet())
    if space:
        symbols = ["▁", *map(chr, range(10, 127))]
    vocabulary = {token: number for number, token in enumerate(["<s>", "</s>", "<pad>", *symbols])}
    tokenizer = Tokenizer(models.BPE(vocab=vocabulary, merges=[]))
    tokenizer.pre_tokenizer = (
        pre_tokenizers.Metaspace(prepend_scheme="first") if space else pre_tokenizers.ByteLevel(add_prefix_space=False)
    )
    tokenizer.decoder = decoders.ByteLevel()
    special = {"eos_token": "</s>", "pad_token": "<pad>", **({"bos_token": "<s>"} if bos else {})}
    wrapped = transformers.PreTrainedTokenizerFast(tokenizer_object=tokenizer, **special)
    wrapped.chat_template = chat
    wrapped.save_pretrained(folder)
    return LanguageModel(name, repository=str(folder))


def vlm_of(encoder, language_model, *, what: str = "patches", kind: str = "mlp2x_gelu", **projector) -> VLM:
    torch.manual_seed(2)
    projector = Projector(24, 32, **{"kind": kind, "tokens": 1, "scale": 1.0, **projector})
    for parameter in projector.parameters():
        torch.nn.init.normal_(parameter, std=0.3)
    return VLM(language_model, projector, VisualInput(encoder, what), 16).eval()


def made(tmp_path, vision: str = "clip", language: str = "llama", **settings) -> VLM:
    llm_settings = {key: settings.pop(key) for key in ("rows", "bos", "chat", "space") if key in settings}
    return vlm_of(tower(tmp_path / "tower", vision), llm(tmp_path / "llm", language, **llm_settings), **settings)
