"""The number format in which this machine trains fastest through a frozen LLM."""

from collections.abc import Mapping
from typing import Any

BF16_INSTRUCTIONS = ("avx512_bf16", "amx_bf16", "bf16")
"""Names of bfloat16 instructions on x86 and Arm; without any, a CPU emulates it, eight times slower than float32."""


def fast_dtype() -> str:
    """'bfloat16' if the GPU, or without one the CPU, has instructions for it; else 'float32'.

    The configuration gives it as `${vlmatch.fast_dtype:}`.
    """
    import torch

    if torch.cuda.is_available():
        return "bfloat16" if torch.cuda.is_bf16_supported(including_emulation=False) else "float32"
    return dtype_of_cpu(torch.cpu.get_capabilities())


def dtype_of_cpu(capabilities: Mapping[str, Any]) -> str:
    """The same for a CPU with these `capabilities`, as `torch.cpu.get_capabilities` names them."""
    return "bfloat16" if any(capabilities.get(name) for name in BF16_INSTRUCTIONS) else "float32"
