"""LoRA by peft, put into the LLM in place, so that everything else about it stays as it was."""

from collections.abc import Mapping
from typing import Any

from torch import Tensor

from vlmatch.errors import VlmatchError


def add_lora(causal_lm: Any, settings: Mapping[str, Any]) -> None:
    """Add low-rank adapters (Hu et al., 2022): `settings` has r, alpha, dropout, and targets, names of linear layers.

    The second matrix of each starts at zero, so the LLM answers as before. They are float32 whatever the LLM is: AdamW
    loses small steps in bfloat16. Raises VlmatchError if no layer is named so.
    """
    from peft import LoraConfig, inject_adapter_in_model

    config = LoraConfig(
        r=settings["r"],
        lora_alpha=settings["alpha"],
        lora_dropout=settings["dropout"],
        target_modules=list(settings["targets"]),
        task_type="CAUSAL_LM",
    )
    try:
        inject_adapter_in_model(config, causal_lm)
    except ValueError as error:
        raise VlmatchError(
            f"recipe.lora.targets={list(settings['targets'])}: no layer of {type(causal_lm).__name__} is named so; "
            "common names are q_proj, k_proj, v_proj, o_proj, gate_proj, up_proj, down_proj"
        ) from error
    for name, parameter in causal_lm.named_parameters():
        if "lora_" in name:
            parameter.data = parameter.data.float()


def lora_state(causal_lm: Any) -> dict[str, Tensor]:
    """The adapters' matrices by name; empty where there are none."""
    return {name: value for name, value in causal_lm.state_dict().items() if "lora_" in name}
