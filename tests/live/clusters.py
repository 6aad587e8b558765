"""Sweeps and trainings by SLURM, against the same run serially: `python tests/live/clusters.py`.

Needs the extra `slurm`, and a cluster that SLURM's commands find, such as that of `tests/live/slurm.sh start`. In
order: a sweep without a launcher; the same sweep by SLURM, in which the second job is cancelled while it runs; the same
command again, whose scores must equal the serial ones; two small trainings on drawn pictures by either way, collected.
Not part of CI: it takes minutes.
"""

import argparse
import csv
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
TESTS = str(ROOT / "tests")
sys.path[:0] = [str(ROOT / "src"), TESTS]
os.environ["PYTHONPATH"] = os.pathsep.join([str(ROOT / "src"), str(ROOT / "study"), TESTS])
os.environ |= {"OMP_NUM_THREADS": "1", "HF_HUB_OFFLINE": "1", "COLUMNS": "200"}

SLURM = ["hydra/launcher=submitit_slurm", "hydra.launcher.cpus_per_task=1", "hydra.launcher.timeout_min=20"]
POOL = ["probe.sample=64", "encoder=pixels16,mean_colour,mobilenetv2", "llm=smollm2", "multirun"]
TOLERANCE = 1e-6  # of a score
EXACT = {"probe", "n_pairs", "llm", "encoder", "place", "pick"}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--keep", type=Path, help="a folder that keeps everything; default: a temporary one")
    parser.add_argument("--parts", default="sweep,trainings", help="of sweep, trainings")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(dir=ROOT / "cache") as temporary:  # where the nodes of a cluster see it too
        place = (options.keep or Path(temporary)).resolve()
        for part in options.parts.split(","):
            {"sweep": sweep, "trainings": trainings}[part](place)


def sweep(place: Path) -> None:
    """A pool of three encoders, with a job cancelled in the middle, and then taken up again."""
    ended(command(place / "serial", *POOL), 0, "serial sweep")
    child = command(place / "slurm", *POOL, *SLURM)
    first = place / "slurm" / "outputs" / "sweeps"
    waited(lambda: any(first.glob("*/0/outcome-0.json")), child, "the first job's end")
    waited(lambda: "_1" in queued("R"), child, "the second job's start")
    job = next(name for name in queued("R").split() if name.endswith("_1"))
    subprocess.run(["scancel", job], check=True)
    cancelled = time.monotonic()
    waited(lambda: job not in queued("R,CG").split(), child, "the cancelled job's end")
    print(f"job {job} was cancelled, and ended after {time.monotonic() - cancelled:.1f} s", flush=True)
    said = ended(child, 2, "sweep with a cancelled job")
    assert "the cluster ended job" in said, said
    assert "Traceback" not in said, said
    waited(lambda: not queued("R,CG,PD"), None, "the other jobs' end")
    ended(command(place / "slurm", *POOL, *SLURM), 0, "the same command again")
    serial, parallel = (rows(place / name / "outputs" / "ranking.csv") for name in ("serial", "slurm"))
    print(f"{len(serial)} encoders: scores differ by at most {furthest(serial, parallel):.1e}", flush=True)


def trainings(place: Path) -> None:
    """Two seeds of a VLM on drawn pictures, measured and collected."""
    import made_vlms

    made_vlms.tiny_llm(place / "llm")
    (place / "drawn").mkdir()
    settings = [
        "encoder=pixels16", "llm=smollm2", "llm.name=tiny", f"llm.repository={place}/llm", "task.blind=null",
        "~split", f"+split={{_target_: vlm.made_split.made_split, folder: {place}/drawn}}", "targets=[vlm.]",
        "benchmark.group=3", "benchmark.hard_group=2", "benchmark.course=0.5", "~benchmark.sources",
        "+benchmark.sources={made: {items: 24, of_category: 12}}", "recipe.stages.0.steps=4",
        "recipe.stages.0.batch_size=4", "recipe.llm_dtype=float32", "recipe.seed=0,1", "multirun",
    ]  # fmt: skip
    means = {}
    for name, launcher in (("serial", []), ("slurm", SLURM)):
        folder = place / f"{name}_trainings"
        runs, results = f"task.runs={folder}/runs", f"results={folder}/results"
        ended(command(folder, "task=train", runs, results, *settings, *launcher), 0, f"two trainings, {name}")
        ended(command(folder, "task=collect", runs, results), 0, f"collecting them, {name}")
        found = sorted(Path(folder / "results").rglob("*.json"))
        means[name] = [json.loads(path.read_text())["mean"]["score"] for path in found]
    print(f"means of the trainings: {means}", flush=True)
    assert len(means["slurm"]) == 2
    assert all(abs(a - b) <= TOLERANCE for a, b in zip(means["serial"], means["slurm"], strict=True))


def command(folder: Path, *arguments: str) -> subprocess.Popen[str]:
    """Start a command of vlmatch's whose files are below the folder."""
    own = [f"store={folder}/store", f"outputs={folder}/outputs", f"tracking.folder={folder}/mlruns"]
    folder.mkdir(parents=True, exist_ok=True)
    return subprocess.Popen(
        [sys.executable, "src/run.py", *own, *arguments],
        cwd=ROOT, text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
    )  # fmt: skip


def ended(child: subprocess.Popen[str], code: int, what: str) -> str:
    """What the command said; the check ends here if its exit code is another."""
    started = time.monotonic()
    said = child.communicate(timeout=3600)[0]
    if child.returncode != code:
        sys.exit(f"{what}: exit code {child.returncode}, expected {code}\n{said}")
    print(f"{what}: exit code {code} after {time.monotonic() - started:.0f} s", flush=True)
    return said


def waited(condition: Callable[[], bool], child: subprocess.Popen[str] | None, what: str) -> None:
    """Wait until the condition holds; the check ends here if the command ends before, or after ten minutes."""
    deadline = time.monotonic() + 600
    while not condition():
        if (child is not None and child.poll() is not None) or time.monotonic() > deadline:
            sys.exit(f"waited in vain for {what}\n{child.communicate()[0] if child is not None else ''}")
        time.sleep(0.2)


def queued(states: str) -> str:
    """The jobs in these states, as ARRAY_INDEX."""
    return subprocess.check_output(["squeue", "-h", "-r", "-t", states, "-o", "%F_%K"], text=True)


def rows(path: Path) -> dict[str, dict[str, str]]:
    """The rows of a ranking by encoder."""
    with path.open(encoding="utf-8") as file:
        return {row["encoder"]: row for row in csv.DictReader(file)}


def furthest(some: dict[str, dict[str, str]], others: dict[str, dict[str, str]]) -> float:
    """The largest difference of a number in two rankings; the check ends where words differ, or a score by more."""
    assert some.keys() == others.keys(), (some.keys(), others.keys())
    largest = 0.0
    for encoder, row in some.items():
        for key, value in row.items():
            other = others[encoder][key]
            if value == other:
                continue
            assert key not in EXACT, (encoder, key, value, other)
            if "images_per_second" in key or "device" in key or "seconds" in key:
                continue  # measured anew
            difference = abs(float(value) - float(other))
            assert difference <= TOLERANCE, (encoder, key, value, other)
            largest = max(largest, difference)
    return largest


if __name__ == "__main__":
    main()
