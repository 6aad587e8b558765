"""Run one solve in its own process, so that it can be stopped at a time limit, and its peak memory is its own.

`solve_alone` starts that process: `python perf/gromov_child.py METHOD FOLDER` solves FOLDER/x.npy and y.npy.
"""

import importlib
import json
import resource
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from gromov_solvers import METHODS, Array

_MIB = 2**20
_READY = "ready"


class Alone(NamedTuple):
    """How a solve ended: `status` is "done", "cut at ... s" or "failed: ...", `row` holds the measurements."""

    status: str
    row: dict[str, Any]
    coupling: Array | None


def solve_alone(method: str, x: Array, y: Array, *, limit: float, keep: bool, python: str = sys.executable) -> Alone:
    """Solve in a new process, which is stopped `limit` seconds after it has loaded its packages.

    keep: whether the coupling is returned.
    """
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        np.save(folder / "x.npy", x)
        np.save(folder / "y.npy", y)
        errors = (folder / "errors.txt").open("w+")
        command = [python, "-W", "ignore", __file__, method, str(folder), "keep" if keep else ""]
        with errors, subprocess.Popen(command, stdout=subprocess.PIPE, stderr=errors, text=True) as child:
            said = child.stdout.readline() if child.stdout else ""
            try:
                child.wait(timeout=limit if said.strip() == _READY else None)
            except subprocess.TimeoutExpired:
                child.kill()
                return Alone(f"cut at {limit:g} s", {}, None)
            if child.returncode != 0:
                errors.seek(0)
                lines = errors.read().strip().splitlines() or [f"exit code {child.returncode}"]
                return Alone(f"failed: {lines[-1]}", {}, None)
        coupling = np.load(folder / "coupling.npy") if keep else None
        return Alone("done", json.loads((folder / "row.json").read_text()), coupling)


def peak_bytes() -> int:
    """Peak resident memory of this process, in bytes.

    On Linux, the number of getrusage includes the parent process that started this one; VmHWM does not.
    """
    status = Path("/proc/self/status")
    if status.exists():
        lines = status.read_text().splitlines()
        return next(int(line.split()[1]) * 1024 for line in lines if line.startswith("VmHWM"))
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)


def _main(name: str, folder: Path, keep: bool) -> None:
    method = METHODS[name]
    x, y = np.load(folder / "x.npy"), np.load(folder / "y.npy")
    importlib.import_module(method.package)
    if method.solver.startswith(("vlmatch", "torch")):  # compile, or load compiled code
        few = min(len(x), 300)  # long sums have their own kernel
        method.solve(np.ascontiguousarray(x[:few, :few]), np.ascontiguousarray(y[:few, :few]))
    print(_READY, flush=True)
    before = peak_bytes()
    solved = method.solve(x, y)
    after = peak_bytes()
    if keep:
        np.save(folder / "coupling.npy", solved.coupling())
    row: dict[str, Any] = {"seconds": solved.seconds, "iterations": solved.iterations, "energy": solved.energy}
    row |= {"gap_reported": solved.gap, "baseline_mib": before / _MIB, "peak_mib": after / _MIB}
    if "cuda" in method.solver:
        import torch

        row["gpu_mib"] = torch.cuda.max_memory_allocated() / _MIB
    (folder / "row.json").write_text(json.dumps(row))


if __name__ == "__main__":
    _main(sys.argv[1], Path(sys.argv[2]), sys.argv[3:] == ["keep"])
