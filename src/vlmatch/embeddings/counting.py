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
    """Operations for one image in 1e9, a multiplication and an addition counted as two, and tokens; None: not known."""

    gflops: float | None = None
    tokens: int | None = None


def counted(model: Any, image: Tensor) -> Counted:
    """Count one forward pass of an encoder with a batch of one image.

    Matrix products and convolutions count, wherever torch computes them: a model of the user's own that computes
    elsewhere, so that there are none, has no count. Nor has one that fails here, since counting is no reason to stop.
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
    """Fused kernels escape the count, as does what torch.compile makes."""
    fast = torch.backends.mha.get_fastpath_enabled()
    torch.backends.mha.set_fastpath_enabled(False)
    try:
        with sdpa_kernel(SDPBackend.MATH), torch.compiler.set_stance("force_eager"):
            yield
    finally:
        torch.backends.mha.set_fastpath_enabled(fast)
