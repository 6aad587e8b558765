"""Load a causal LM and its tokenizer from a folder or a GGUF file, offline; nothing may be missing or run code."""

import logging
from dataclasses import replace
from typing import Any

import torch

from vlmatch.errors import VlmatchError
from vlmatch.llms.gguf import unreadable
from vlmatch.llms.quiet import without_progress_bars
from vlmatch.llms.weights import Weights
from vlmatch.machine.disk import is_refused
from vlmatch.machine.memory import is_out_of_memory
from vlmatch.packages.adapters import merged, without_adapter
from vlmatch.packages.hub import fetch_again
from vlmatch.packages.model_folders import groups, refuse_deeper, weight_files, why_unloadable
from vlmatch.pickles import refuse_code

log = logging.getLogger(__name__)


def load_causal_lm(
    name: str, weights: Weights, *, dtype: torch.dtype, device_map: Any = None, trust_remote_code: bool = False
) -> tuple[Any, Any]:
    """The causal LM of `weights`, frozen and in eval mode, and its tokenizer, with a padding token.

    Pickled weights are read by torch's restricted reader (`weights_only=True`), which runs no code.
    transformers replaces weights that a file lacks by random ones and only warns; here that is an error.
    Weights that the architecture has no place for are said; those of a deeper model are refused.
    Raises VlmatchError if the weights can't be read, would run code, or do not fit the architecture, and if an adapter
    does not fit the model.
    """
    folder = weights.folder
    if trust_remote_code:
        log.warning("llm '%s': trust_remote_code=true, the code in '%s' will run", name, folder)
    if weights.gguf_file is None:
        for file in weight_files(folder):
            refuse_code(f"llm '{name}'", file)
    try:
        with without_adapter(folder) as readable:
            causal_lm, report, tokenizer = _from_pretrained(
                replace(weights, folder=readable), dtype, device_map, trust_remote_code
            )
    except Exception as error:  # tokenizers has no class of errors of its own
        if is_out_of_memory(error) or is_refused(error):
            raise
        if weights.gguf_file:
            raise unreadable(name, error) from error
        raise VlmatchError(
            f"llm '{name}': '{folder}' can't be loaded ({why_unloadable(error)}); give a folder with config.json, "
            f"model.safetensors and a tokenizer, as save_pretrained writes it, or {fetch_again(folder)}"
        ) from error
    left_out = sorted(report["unexpected_keys"])
    if absent := sorted(report["missing_keys"]):
        instead = f", and hold {groups(left_out)} beside" if left_out else ""
        raise VlmatchError(
            f"llm '{name}': weights in '{folder}' lack {len(absent)} tensors of the architecture, first '{absent[0]}'"
            f"{instead}; give all of them under transformers' names, or {fetch_again(folder)}"
        )
    refuse_deeper(f"llm '{name}'", folder, causal_lm.state_dict(), left_out)
    if left_out:
        log.warning("llm '%s': left out of '%s': %s", name, folder, groups(left_out))
    beyond = tokenizer.pad_token is not None and tokenizer.pad_token_id >= len(causal_lm.get_input_embeddings().weight)
    if tokenizer.pad_token is None or beyond:  # any token can pad, because the attention mask hides it
        if tokenizer.eos_token is None:
            raise VlmatchError(f"llm '{name}': its tokenizer has neither a padding nor an end token; add one to it")
        tokenizer.pad_token = tokenizer.eos_token
    if weights.adapter is not None:
        causal_lm = merged("llm", name, causal_lm, weights.adapter)
    return causal_lm.eval().requires_grad_(False), tokenizer


def _from_pretrained(
    weights: Weights, dtype: torch.dtype, device_map: Any, trust_remote_code: bool
) -> tuple[Any, dict[str, Any], Any]:
    """The causal LM, transformers' report on the tensors of the files, and the tokenizer."""
    from transformers import AutoModelForCausalLM, AutoTokenizer

    options: dict[str, Any] = {"local_files_only": True, "trust_remote_code": trust_remote_code}
    if weights.gguf_file:
        options["gguf_file"] = weights.gguf_file
    safetensors = {file.suffix for file in weight_files(weights.folder)} != {".bin"}
    with without_progress_bars():
        causal_lm, report = AutoModelForCausalLM.from_pretrained(
            weights.folder,
            dtype=dtype,
            device_map=device_map,
            use_safetensors=safetensors,
            weights_only=True,
            output_loading_info=True,
            **options,
        )
        tokenizer = AutoTokenizer.from_pretrained(weights.folder, **options)
    return causal_lm, report, tokenizer
