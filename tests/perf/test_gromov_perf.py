"""The timed comparison runs by one command; what it finds is not judged here."""

import csv
import subprocess
import sys
from pathlib import Path

import pytest

from vlmatch import paths

COLUMNS = {
    "problem", "n", "solver", "loss", "start", "seconds", "energy", "gap", "iterations", "precision",
    "times_faster_than_pot", "energy_relative_to_pot",
}  # fmt: skip


def run(*arguments: str) -> subprocess.CompletedProcess[str]:
    """The command that a user types."""
    script = paths.root() / "perf" / "gromov.py"
    return subprocess.run(
        [sys.executable, str(script), *arguments], capture_output=True, text=True, timeout=300, check=False
    )


@pytest.mark.slow
def test_the_pair_suite_writes_a_row_a_solve_a_summary_and_a_plot(tmp_path: Path) -> None:
    finished = run("pair", "--data", "synthetic", "--n", "30", "--out", str(tmp_path))
    assert finished.returncode == 0, finished.stderr
    with (tmp_path / "gromov_pair.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert set(rows[0]) >= COLUMNS
    solvers = {(row["solver"], row["loss"], row["start"]) for row in rows if row["problem"] == rows[0]["problem"]}
    ours = {("vlmatch", loss, start) for loss in ("l1", "l2") for start in ("product", "identity")}
    assert ours | {("POT", "l2", "product"), ("POT", "l2", "identity")} < solvers
    assert all(float(row["gap"]) < 1e-8 for row in rows if row["solver"] in ("vlmatch", "POT"))
    assert "machine" in (tmp_path / "gromov_summary.csv").read_text()
    assert (tmp_path / "gromov_pair.png").stat().st_size > 0


def test_an_unknown_suite_is_refused_by_name() -> None:
    finished = run("pairs")
    assert finished.returncode == 2
    assert "suite 'pairs' is unknown, wanted some of pair, pool, starts, peers, scaling" in finished.stderr
