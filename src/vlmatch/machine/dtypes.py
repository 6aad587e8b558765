"""The type of number that a frozen LLM is trained through fastest on this machine."""

from collections.abc import Mapping
from typing import Any

BF16_INSTRUCTIONS = ("avx512_bf16", "amx_bf16", "bf16")
"""x86 and Arm names of them; a CPU without any emulates bfloat16, eight times slower than float32."""


def fast_dtype() -> str:
    """'bfloat16' where the GPU, or without one the CPU, has instructions for it; else 'float32'.

    The configuration gives it as `${vlmatch.fast_dtype:}`.
    """
    import torch

    if torch.cuda.is_available():
        return "bfloat16" if torch.cuda.is_bf16_supported(including_emulation=False) else "float32"
    return dtype_of_cpu(torch.cpu.get_capabilities())


def dtype_of_cpu(capabilities: Mapping[str, Any]) -> str:
    """The same of a CPU's `capabilities`, as `torch.cpu.get_capabilities` names them."""
    return "bfloat16" if any(capabilities.get(name) for name in BF16_INSTRUCTIONS) else "float32"
