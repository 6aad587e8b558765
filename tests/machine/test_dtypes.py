"""The type that training takes on this machine: bfloat16 only where there are instructions for it."""

import pytest
import torch

from vlmatch.configs import composed
from vlmatch.machine.dtypes import dtype_of_cpu, fast_dtype


@pytest.mark.parametrize(
    ("capabilities", "dtype"),
    [
        (
            {"architecture": "x86_64", "avx2": True, "avx512_f": True, "avx512_bf16": False, "amx_bf16": False},
            "float32",
        ),
        ({"architecture": "x86_64", "avx512_f": True, "avx512_bf16": True, "amx_bf16": False}, "bfloat16"),
        ({"architecture": "x86_64", "avx512_bf16": False, "amx_bf16": True}, "bfloat16"),
        ({"architecture": "aarch64", "neon": True, "bf16": True}, "bfloat16"),
        ({"architecture": "aarch64", "neon": True, "bf16": False}, "float32"),
    ],
)
def test_a_cpu_takes_bfloat16_where_it_has_instructions_for_it(capabilities: dict, dtype: str) -> None:
    assert dtype_of_cpu(capabilities) == dtype


def chosen(*overrides: str) -> str:
    """The LLM's dtype in the configuration that a command composes."""
    return str(composed("llm=smollm2", *overrides).llm.dtype)


@pytest.mark.skipif(torch.cuda.is_available(), reason="asks the CPU")
@pytest.mark.parametrize("task", ["train", "evaluate"])
def test_the_embedded_recipe_asks_this_machine(task: str) -> None:
    assert chosen(f"task={task}") == fast_dtype() == dtype_of_cpu(torch.cpu.get_capabilities())


@pytest.mark.parametrize("recipe", ["paper", "llava15", "single_gpu"])
def test_an_llm_that_learns_is_in_float32(recipe: str) -> None:
    assert chosen("task=train", f"recipe={recipe}", "llm=qwen2.5-7b") == "float32"
    assert chosen("task=embed", f"recipe={recipe}", "llm=qwen2.5-7b") == "bfloat16"  # the LLM's own


def test_the_command_line_has_the_last_word() -> None:
    assert chosen("task=train", "llm.dtype=float16") == chosen("task=train", "recipe.llm_dtype=float16") == "float16"
