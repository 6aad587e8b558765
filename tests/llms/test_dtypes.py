"""The type that training takes on this machine: bfloat16 only where there are instructions for it."""

import subprocess
import sys

import pytest
import torch
import yaml

from vlmatch import paths
from vlmatch.llms.dtypes import dtype_of_cpu, fast_dtype


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


@pytest.mark.skipif(torch.cuda.is_available(), reason="asks the CPU")
def test_the_configuration_asks_this_machine() -> None:
    training = yaml.safe_load((paths.root() / "training/dvc.yaml").read_text())["stages"]
    override = "llm.dtype=${vlmatch.fast_dtype:}"
    for stage in ("train", "evaluate"):
        assert f"'{override.replace('$', chr(92) + '$')}'" in training[stage]["cmd"]
    command = [sys.executable, str(paths.root() / "src/run.py"), "llm=smollm2", override, "--cfg", "job", "--resolve"]
    shown = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    assert yaml.safe_load(shown)["llm"]["dtype"] == fast_dtype() == dtype_of_cpu(torch.cpu.get_capabilities())
