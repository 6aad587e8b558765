"""Errors of too little memory are told from others, and each has advice that names the keys to change."""

from pathlib import Path

import pytest
import torch

from vlmatch.machine.memory import (
    EMBEDDING_ADVICE,
    available_memory,
    is_out_of_memory,
    physical_memory,
    scoring_bytes,
    training_advice,
)


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


@pytest.mark.parametrize("file", ["memory.max", "memory/memory.limit_in_bytes"])
@pytest.mark.parametrize(("held", "expected"), [("max\n", None), ("1000\n", 1000), (f"{2**60}\n", None)])
def test_a_container_may_hold_less_than_the_machine(tmp_path: Path, file: str, held: str, expected: int | None) -> None:
    whole = physical_memory(tmp_path)
    assert whole > 2**28
    (tmp_path / "memory").mkdir()
    (tmp_path / file).write_text(held)
    assert physical_memory(tmp_path) == (expected or whole)


def test_what_other_programs_hold_is_not_available(tmp_path: Path) -> None:
    (tmp_path / "meminfo").write_text("MemTotal:  9 kB\nMemAvailable:      7 kB\n")
    assert available_memory(tmp_path / "meminfo", tmp_path) == 7 * 1024
    assert available_memory(tmp_path / "none", tmp_path) == physical_memory(tmp_path)
    assert 0 < available_memory() <= physical_memory()


V2 = {"memory.max": 8000, "memory.current": 6000, "memory.stat": "anon 9\nactive_file 500\ninactive_file 1500\n"}
V1 = {
    "memory/memory.limit_in_bytes": 8000,
    "memory/memory.usage_in_bytes": 6000,
    "memory/memory.stat": "active_file 1\ninactive_file 2\ntotal_inactive_file 1500\ntotal_active_file 500\n",
}


@pytest.mark.parametrize("files", [V2, V1], ids=["v2", "v1"])
def test_what_a_container_holds_is_not_available_but_for_cached_files(tmp_path: Path, files: dict[str, object]) -> None:
    (tmp_path / "memory").mkdir()
    for name, text in files.items():
        (tmp_path / name).write_text(f"{text}\n")
    assert available_memory(tmp_path / "none", tmp_path) == 8000 - (6000 - 2000)
    (tmp_path / "meminfo").write_text("MemAvailable: 3 kB\n")
    assert available_memory(tmp_path / "meminfo", tmp_path) == 3 * 1024


def test_scores_together_take_no_more_than_was_measured_of_all() -> None:
    assert scoring_bytes(10_000, [0, 54]) == pytest.approx(88 * 109e6)
    assert scoring_bytes(10_000, [100] * 20) == scoring_bytes(10_000, [200]) == pytest.approx(190 * 109e6)
