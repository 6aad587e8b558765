"""Gradient checkpointing of an LLM: its layers keep only their inputs and are computed again in the backward pass."""

from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from typing import Any

from torch import nn


def set_checkpointing(causal_lm: Any, *, wanted: bool, learns: bool) -> None:
    """Switch gradient checkpointing of an LLM on or off.

    learns: whether the LLM learns. If it does not, its layers compute in evaluation mode, as without checkpointing.
    transformers checkpoints nothing before `set_modes`.
    """
    if not wanted:
        if causal_lm.is_activation_checkpointing:
            causal_lm.gradient_checkpointing_disable()
        return

    def evaluating() -> tuple[AbstractContextManager[None], AbstractContextManager[None]]:
        return _evaluating(layers), _evaluating(layers)  # for the forward pass, and for computing the layer again

    context = {} if learns else {"context_fn": evaluating}
    causal_lm.gradient_checkpointing_enable({"use_reentrant": False, **context})
    layers = _layers(causal_lm)


def set_modes(causal_lm: Any, *, learns: bool) -> None:
    """Put an LLM into training mode if it learns, else into evaluation mode.

    The layers of a frozen LLM that are checkpointed are marked as in training mode, since transformers checkpoints no
    others. The modules in them are not, and while a layer computes, the layer itself is not either.
    """
    causal_lm.train(learns)
    for layer in _layers(causal_lm):
        layer.training = True


def _layers(causal_lm: Any) -> Sequence[nn.Module]:
    """The layers that are checkpointed."""
    from transformers.modeling_layers import GradientCheckpointingLayer

    found = (module for module in causal_lm.modules() if isinstance(module, GradientCheckpointingLayer))
    return [layer for layer in found if layer.gradient_checkpointing]


@contextmanager
def _evaluating(layers: Sequence[nn.Module]) -> Iterator[None]:
    """Put the layers themselves into evaluation mode; they may draw dropout by their own flag."""
    for layer in layers:
        layer.training = False
    try:
        yield
    finally:
        for layer in layers:
            layer.training = True
