"""Chat templates of four families, and small tokenizers that have them."""

from collections.abc import Sequence
from typing import Any

from vlmatch.probes.llava_format import ASSISTANT, USER, Turn

# The chat formats of four families, written for this test; ⟦ and ⟧ stand around what is learnt.
CHATML = (
    "{% if messages[0].role != 'system' %}<|im_start|>system\nDEFAULT<|im_end|>\n{% endif %}"
    "{% for message in messages %}<|im_start|>{{ message.role }}\n{% if message.role == 'assistant' %}"
    "⟦{{ message.content }}<|im_end|>⟧{% else %}{{ message.content }}<|im_end|>{% endif %}{{ '\n' }}{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)
LLAMA = (
    "{{ bos_token }}{% if messages[0].role == 'system' %}{% set said = messages[0].content | trim %}"
    "{% set rest = messages[1:] %}{% else %}{% set said = '' %}{% set rest = messages %}{% endif %}"
    "<|start_header_id|>system<|end_header_id|>\n\nToday Date: {{ date_string }}\n\n{{ said }}<|eot_id|>"
    "{% for message in rest %}<|start_header_id|>{{ message.role }}<|end_header_id|>\n\n"
    "{% if message.role == 'assistant' %}⟦{{ message.content | trim }}<|eot_id|>⟧"
    "{% else %}{{ message.content | trim }}<|eot_id|>{% endif %}{% endfor %}"
    "{% if add_generation_prompt %}<|start_header_id|>assistant<|end_header_id|>\n\n{% endif %}"
)
GEMMA = (
    "{{ bos_token }}{% if messages[0].role == 'system' %}{{ raise_exception('System role not supported') }}{% endif %}"
    "{% for message in messages %}{% if (message.role == 'user') != (loop.index0 % 2 == 0) %}"
    "{{ raise_exception('Roles must alternate') }}{% endif %}"
    "<start_of_turn>{{ 'model' if message.role == 'assistant' else 'user' }}\n{% if message.role == 'assistant' %}"
    "⟦{{ message.content | trim }}<end_of_turn>⟧{% else %}{{ message.content | trim }}<end_of_turn>{% endif %}"
    "{{ '\n' }}{% endfor %}{% if add_generation_prompt %}<start_of_turn>model\n{% endif %}"
)
FAMILIES = {  # template, special tokens of it, BOS
    "qwen2.5": (CHATML.replace("DEFAULT", "You are Qwen."), ("<|im_start|>", "<|im_end|>"), None),
    "smollm2": (
        CHATML.replace("DEFAULT", "You are a helpful AI assistant named SmolLM."),
        ("<|im_start|>", "<|im_end|>"),
        None,
    ),
    "llama3.1": (LLAMA, ("<|start_header_id|>", "<|end_header_id|>", "<|eot_id|>"), "<|begin_of_text|>"),
    "gemma": (GEMMA, ("<start_of_turn>", "<end_of_turn>"), "<bos>"),
}


def tokenizer_of(special: Sequence[str], template: str | None, bos: str | None, eos: str | None = None) -> Any:
    """Byte-level BPE with a few merges, so that tokens are longer than bytes."""
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
    from transformers import PreTrainedTokenizerFast

    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    names = [*special, *([bos] if bos else []), *([eos] if eos else [])]
    trainer = trainers.BpeTrainer(
        vocab_size=320, special_tokens=names, initial_alphabet=pre_tokenizers.ByteLevel.alphabet(), show_progress=False
    )
    tokenizer.train_from_iterator(["the user and the assistant are talking of a cat"] * 3, trainer)
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        bos_token=bos,
        eos_token=eos or special[-1],
        chat_template=template,
        additional_special_tokens=list(special),
    )


def family(name: str, marked: bool = False) -> Any:
    template, special, bos = FAMILIES[name]
    return tokenizer_of(special, marked_up(template) if marked else unmarked(template), bos)


def unmarked(template: str) -> str:
    return template.replace("⟦", "").replace("⟧", "")


def marked_up(template: str) -> str:
    return template.replace("⟦", "{% generation %}").replace("⟧", "{% endgeneration %}")


TWO_TURNS = [
    Turn(USER, "What is it?"),
    Turn(ASSISTANT, "A cat, 5 years old."),
    Turn(USER, "And here?"),
    Turn(ASSISTANT, "Two."),
]
