"""Load a causal LM and its tokenizer from a folder or a GGUF file, offline; refuse missing tensors and code."""

import logging
import re
from collections.abc import Iterable
from dataclasses import replace
from typing import Any

import torch

from vlmatch.errors import VlmatchError
from vlmatch.llms.gguf import unreadable
from vlmatch.llms.weights import Weights
from vlmatch.machine.disk import is_refused
from vlmatch.machine.memory import is_out_of_memory
from vlmatch.machine.quiet import quiet_transformers
from vlmatch.packages.adapters import merged, without_adapter
from vlmatch.packages.hub import fetch_again
from vlmatch.packages.model_folders import (
    WRAPPERS,
    groups,
    refuse_deeper,
    refuse_unmerged,
    weight_files,
    why_unloadable,
)
from vlmatch.pickles import refuse_code

log = logging.getLogger(__name__)

RENAMED = {rf"^(?:module\.|{WRAPPERS})+": "", rf"(?:{WRAPPERS})+": ""}
"""Removes what DataParallel and the wrappers of torch add to the names of tensors, at their start and inside."""


def load_causal_lm(
    name: str, weights: Weights, *, dtype: torch.dtype, device_map: Any = None, trust_remote_code: bool = False
) -> tuple[Any, Any]:
    """The causal LM of `weights`, frozen and in eval mode, and its tokenizer, with a padding token.

    Pickled weights are read by torch's restricted reader (`weights_only=True`), which runs no code.
    transformers replaces weights that a file lacks by random ones and only warns; here that is an error.
    Weights that the architecture has no place for are logged; those of a deeper model are refused. Names of tensors may
    have the prefixes of DataParallel, torch.compile or FSDP.
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
            found = replace(weights, folder=readable)
            causal_lm, report = _from_pretrained(found, dtype, device_map, trust_remote_code)
            if report["missing_keys"] and _wrapped(report["unexpected_keys"]):
                causal_lm, report = _from_pretrained(found, dtype, device_map, trust_remote_code, key_mapping=RENAMED)
            tokenizer = _tokenizer(found, trust_remote_code)
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
    refuse_unmerged(f"llm '{name}'", folder, causal_lm.state_dict(), left_out)
    if absent := sorted(report["missing_keys"]):
        instead = f", and hold {groups(left_out)} instead" if left_out else ""
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
    weights: Weights,
    dtype: torch.dtype,
    device_map: Any,
    trust_remote_code: bool,
    **options: Any,
) -> tuple[Any, dict[str, Any]]:
    """The causal LM, and transformers' report on the tensors of the files."""
    from transformers import AutoModelForCausalLM

    safetensors = {file.suffix for file in weight_files(weights.folder)} != {".bin"}
    with quiet_transformers():
        causal_lm, report = AutoModelForCausalLM.from_pretrained(
            weights.folder,
            dtype=dtype,
            device_map=device_map,
            use_safetensors=safetensors,
            weights_only=True,
            output_loading_info=True,
            **_where(weights, trust_remote_code),
            **options,
        )
    return causal_lm, report


def _wrapped(names: Iterable[str]) -> bool:
    """Whether the names of tensors have a prefix that a wrapper gave them."""
    return any(re.search(pattern, name) for name in names for pattern in RENAMED)


def _tokenizer(weights: Weights, trust_remote_code: bool) -> Any:
    from transformers import AutoTokenizer

    with quiet_transformers():
        return AutoTokenizer.from_pretrained(weights.folder, **_where(weights, trust_remote_code))


def _where(weights: Weights, trust_remote_code: bool) -> dict[str, Any]:
    """The options for model and tokenizer that say where they are read from."""
    found: dict[str, Any] = {"local_files_only": True, "trust_remote_code": trust_remote_code}
    return found if weights.gguf_file is None else {**found, "gguf_file": weights.gguf_file}
