"""Load a causal LM and its tokenizer from a folder: safetensors only, complete, and nothing from the network."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError

from vlmatch.errors import VlmatchError, one_line

_UNREADABLE = (OSError, ValueError, KeyError, RuntimeError, AttributeError, ImportError, SafetensorError)


def load(
    name: str, folder: Path, *, dtype: torch.dtype, device_map: Any = None, trust_remote_code: bool = False
) -> tuple[Any, Any]:
    """The causal LM of `folder`, frozen and in eval mode, and its tokenizer, able to pad.

    transformers fills weights that a file lacks with random ones and only warns: here that is an error.
    Raises VlmatchError if the folder can't be read, or its weights are not those of the architecture.
    """
    from transformers import AutoModelForCausalLM, AutoTokenizer

    options = {"local_files_only": True, "trust_remote_code": trust_remote_code}
    try:
        with without_progress_bars():
            causal_lm, report = AutoModelForCausalLM.from_pretrained(
                folder, dtype=dtype, device_map=device_map, use_safetensors=True, output_loading_info=True, **options
            )
            tokenizer = AutoTokenizer.from_pretrained(folder, **options)
    except _UNREADABLE as error:
        raise VlmatchError(
            f"llm '{name}': '{folder}' can't be loaded ({one_line(error)[:240]}); give a folder with config.json, "
            "model.safetensors and a tokenizer, as save_pretrained writes it"
        ) from error
    if absent := sorted(report["missing_keys"]):
        raise VlmatchError(
            f"llm '{name}': weights in '{folder}' lack {len(absent)} tensors of the architecture, first '{absent[0]}'; "
            "get them complete"
        )
    if tokenizer.pad_token is None:  # which token pads is all the same: the attention mask decides
        if tokenizer.eos_token is None:
            raise VlmatchError(f"llm '{name}': its tokenizer has neither a padding nor an end token; name one in it")
        tokenizer.pad_token = tokenizer.eos_token
    return causal_lm.eval().requires_grad_(False), tokenizer


@contextmanager
def without_progress_bars() -> Iterator[None]:
    """Keep transformers' loading bars off the terminal, and leave the setting as it was."""
    from transformers.utils import logging

    shown = logging.is_progress_bar_enabled()
    logging.disable_progress_bar()
    try:
        yield
    finally:
        if shown:
            logging.enable_progress_bar()
