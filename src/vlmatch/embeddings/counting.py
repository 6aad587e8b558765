"""Count what one image takes: the operations that torch sees, and the tokens that a VLM's projector would be fed."""

import contextlib
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode

from vlmatch.encoders.base import Encoder


@dataclass(frozen=True)
class Counted:
    """Operations for one image, in 1e9 (a multiplication and an addition are two), and its tokens; None: not known."""

    gflops: float | None = None
    tokens: int | None = None


def counted(model: Any, image: Tensor) -> Counted:
    """Count one forward pass of an encoder with a batch of one image.

    Only the matrix products and convolutions that torch computes are counted. `gflops` is None if there are none: a
    user's own model may compute elsewhere. Both are None if the model fails here, because a run must not stop for that.
    """
    try:
        with _unfused(), FlopCounterMode(display=False) as counter:
            model(image)
        tokens = model.fed_tokens(image).shape[1] if isinstance(model, Encoder) else None
    except Exception:  # whatever a model's own code raises
        return Counted()
    return Counted(float(f"{counter.get_total_flops() / 1e9:.4g}") or None, tokens)


@contextlib.contextmanager
def _unfused() -> Iterator[None]:
    """Switch off fused kernels and torch.compile, because the counter does not see their operations."""
    fast = torch.backends.mha.get_fastpath_enabled()
    torch.backends.mha.set_fastpath_enabled(False)
    try:
        with sdpa_kernel(SDPBackend.MATH), torch.compiler.set_stance("force_eager"):
            yield
    finally:
        torch.backends.mha.set_fastpath_enabled(fast)
