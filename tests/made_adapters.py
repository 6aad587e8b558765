"""Small LoRA adapters with random weights, as peft saves them."""

from pathlib import Path
from typing import Any

import torch


def save_adapter(model: Any, folder: Path, targets: list[str]) -> Any:
    """Save an adapter for `model` into `folder`; returns the model with the adapter beside its weights, not merged."""
    from peft import LoraConfig, get_peft_model

    adapted = get_peft_model(model, LoraConfig(r=2, lora_alpha=4, target_modules=targets))
    torch.manual_seed(1)
    with torch.no_grad():
        for name, parameter in adapted.named_parameters():
            if "lora_" in name:
                parameter.copy_(torch.randn_like(parameter) * 0.3)
    adapted.save_pretrained(folder)
    (folder / "README.md").unlink()
    return adapted.eval()
