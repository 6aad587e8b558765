"""LoRA by peft: adapters are put into the LLM in place, so the rest of the LLM stays as it is."""

from typing import Any

from torch import Tensor

from vlmatch.errors import VlmatchError
from vlmatch.settings.recipe import LoraSettings


def add_lora(causal_lm: Any, settings: LoraSettings) -> None:
    """Add low-rank adapters (Hu et al., 2022) to the linear layers that `settings` names.

    settings: r, alpha, dropout, and targets, the layers' names. The second matrix of each adapter starts at zero, so
    the LLM's output is unchanged at first. Adapters are float32 even if the LLM is bfloat16, because AdamW would lose
    small updates in bfloat16. Raises VlmatchError if no layer has one of these names.
    """
    from peft import LoraConfig, inject_adapter_in_model

    config = LoraConfig(
        r=settings.r,
        lora_alpha=settings.alpha,
        lora_dropout=settings.dropout,
        target_modules=list(settings.targets),
        task_type="CAUSAL_LM",
    )
    try:
        inject_adapter_in_model(config, causal_lm)
    except ValueError as error:
        raise VlmatchError(
            f"recipe.lora.targets={list(settings.targets)}: {type(causal_lm).__name__} has no layer of these names; "
            "common names are q_proj, k_proj, v_proj, o_proj, gate_proj, up_proj, down_proj"
        ) from error
    for name, parameter in causal_lm.named_parameters():
        if "lora_" in name:
            parameter.data = parameter.data.float()


def lora_state(causal_lm: Any) -> dict[str, Tensor]:
    """The matrices of the LLM's adapters by name; empty if it has none."""
    return {name: value for name, value in causal_lm.state_dict().items() if "lora_" in name}
