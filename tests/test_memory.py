"""Errors of too little memory are told from others, and each has advice that names the keys to change."""

import pytest
import torch

from vlmatch.memory import EMBEDDING_ADVICE, is_out_of_memory, training_advice


@pytest.mark.parametrize(
    "error",
    [
        torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2 GiB"),
        RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried to allocate 9 bytes"),
        RuntimeError("DefaultCPUAllocator: not enough memory: you tried to allocate 9 bytes"),
        MemoryError(),
    ],
)
def test_out_of_memory_is_recognised(error: Exception) -> None:
    assert is_out_of_memory(error)


def test_what_pytorch_says_on_this_machine_is_recognised() -> None:
    with pytest.raises(RuntimeError) as caught:
        torch.empty(2**60)
    assert is_out_of_memory(caught.value)


@pytest.mark.parametrize("error", [RuntimeError("shapes cannot be multiplied"), OSError("out of memory cards")])
def test_other_errors_are_not(error: Exception) -> None:
    assert not is_out_of_memory(error)


def test_the_advice_names_keys() -> None:
    assert "trainer.precision" in EMBEDDING_ADVICE
    assert all(key in training_advice(1) for key in ("recipe.stages.1.accumulate", "recipe.stages.1.gradient_ch"))
