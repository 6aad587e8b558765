"""The commands that are broken on purpose: what each needs, how it runs, and the files that are its results."""

import hashlib
import importlib
import json
import os
import random
import signal
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT / "src"), str(ROOT / "study"), str(ROOT / "tests")]
os.environ |= {"OMP_NUM_THREADS": "1", "HF_HUB_OFFLINE": "1", "MLFLOW_DISABLE_TELEMETRY": "true", "COLUMNS": "200"}
os.environ.setdefault("NUMBA_CACHE_DIR", str(ROOT / "cache" / "numba"))


@dataclass
class Case:
    """A command: what it needs, what it does, and the files that are its results, by name."""

    name: str
    prepare: Callable[[Path], None]
    command: Callable[[Path], None]
    results: Callable[[Path], dict[str, str]]


def start(case: Case, folder: Path, log: Path | None = None) -> int:
    """Run a command in a forked process, which has the slow imports behind it and a process group of its own.

    log: what it prints is added to this file; None: `log` in the folder.
    """
    child = os.fork()
    if child:
        return child
    os.setpgid(0, 0)
    code = 1
    try:
        signal.signal(signal.SIGINT, signal.default_int_handler)
        printed = os.open(log or folder / "log", os.O_WRONLY | os.O_CREAT | os.O_APPEND)
        os.dup2(printed, 1)
        os.dup2(printed, 2)
        os.chdir(folder)
        case.command(folder)
        code = 0
    except SystemExit as stop:
        code = int(stop.code or 0)
    except BaseException:
        import traceback

        traceback.print_exc()
    finally:
        sys.stdout.flush()
        os._exit(code)


def ended(child: int, seconds: float) -> int | None:
    """The exit code of a process; None if it does not end within so many seconds."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        found, status = os.waitpid(child, os.WNOHANG)
        if found:
            return os.waitstatus_to_exitcode(status)
        time.sleep(0.02)
    return None


def load(names: str) -> None:
    """Import what the commands need; nothing is computed here, since threads do not survive a fork."""
    modules = ["vlmatch.cli", "vlmatch.probes.fetch", "made_debs", "made_results"]
    if "sweep" in names or "train" in names:
        heavy = ["pytorch_lightning", "sklearn.decomposition", "transformers"]
        modules += [*heavy, "vlmatch.tracking.tracker", "made_vlms"]
    for module in modules:
        importlib.import_module(module)


def cases() -> dict[str, Case]:
    """Every command by name."""
    return {
        "fetch": Case("fetch", package, fetch, lambda folder: digests(folder / "data")),
        "collect": Case("collect", finished_runs, collect, lambda folder: digests(folder / "results")),
        "sweep": Case("sweep", pictures_and_llm, sweep, ranked),
        "train": Case("train", lambda folder: None, train, trained),
    }


def digests(folder: Path, pattern: str = "*") -> dict[str, str]:
    """SHA-256 of every file, by its path below the folder."""
    return {
        path.relative_to(folder).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(folder.rglob(pattern))
        if path.is_file() and not path.name.endswith(".lock")
    }


def command_line(folder: Path, *arguments: str) -> None:
    from vlmatch.cli import main as run

    os.environ["VLMATCH_CACHE"] = str(folder / "cache")
    own = (f"store={folder}/store", f"outputs={folder}/outputs", f"tracking.folder={folder}/mlruns")
    run([*own, f"data={folder}/data", *arguments])


def package(folder: Path) -> None:
    """A Debian package of 80 captioned pictures of noise."""
    from made_debs import write_deb

    noise = random.Random(0)
    files = {f"a/{k}.png": noise.randbytes(4_000) for k in range(80)}
    captions = {f"a/{k}.txt": f"Picture {k}.".encode() for k in range(80)}
    write_deb(folder, {**files, **captions})


def fetch(folder: Path) -> None:
    from vlmatch.packages.deb import Archive
    from vlmatch.probes.fetch import fetch_stamps

    deb = folder / "x.deb"
    os.environ["VLMATCH_CACHE"] = str(folder / "cache")
    fetch_stamps(folder / "data" / "stamps", Archive("x", "1", hashlib.sha256(deb.read_bytes()).hexdigest(), str(deb)))


def finished_runs(folder: Path) -> None:
    """Thirty finished trainings."""
    from made_results import result
    from vlmatch.results import write_file

    for number in range(30):
        run = result(f"e{number // 2}", 0.2 + number / 200, seed=number % 2)
        place = folder / "runs" / run.run.with_suffix("")
        write_file(place / "result.json", run)
        (place / "likelihoods.npz").write_bytes(random.Random(number).randbytes(50_000))


def collect(folder: Path) -> None:
    command_line(folder, "task=collect", f"task.runs={folder}/runs", f"++results={folder}/results")


def pictures_and_llm(folder: Path) -> None:
    """Sixty pictures of noise with captions, and a tiny LLM as a folder."""
    import numpy as np
    from PIL import Image

    noise = np.random.default_rng(0)
    (folder / "pictures").mkdir()
    lines = ["image,caption"]
    for k in range(60):
        pixels = noise.integers(0, 255, (96, 128, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(folder / "pictures" / f"{k}.png")
        lines.append(f"{k}.png,Noise of number {k} in the colour {pixels[0, 0].sum()}.")
    (folder / "pictures" / "captions.csv").write_text("\n".join(lines) + "\n")
    shared = folder.parent / "llm"
    if not shared.exists():  # in a process of its own, because this one must not compute
        child = os.fork()
        if not child:
            from made_vlms import tiny_llm

            tiny_llm(shared)
            os._exit(0)
        os.waitpid(child, 0)


def sweep(folder: Path) -> None:
    command_line(
        folder,
        "encoder=pixels16,mean_colour,random_resnet18",
        "llm=qwen2.5-0.5b",
        f"llm.repository={folder.parent}/llm",
        "probe=folder",
        f"probe.path={folder}/pictures",
        "trainer.batch_size=4",
        "trainer.shard_size=8",
        "score=[gw_paired,cka]",
        "multirun",
    )


def ranked(folder: Path) -> dict[str, str]:
    """Embeddings and scores; the probe's path is part of neither."""
    found = digests(folder / "store" / "embeddings", "*.safetensors")
    for path in sorted((folder / "store" / "scores").rglob("*.json")):
        scores = json.loads(path.read_text())["scores"]
        found[path.name] = json.dumps(scores, sort_keys=True)
    return found


def train(folder: Path) -> None:
    import torch

    import made_vlms
    from vlmatch.messages import user_message

    stages = [
        made_vlms.stage(steps=30),
        made_vlms.stage(name="tune", trains={"projector": 1e-3, "lora": 1e-2}, steps=20),
    ]
    torch.use_deterministic_algorithms(mode=True)
    try:
        vlm, log = made_vlms.run(folder, stages=stages, lora=made_vlms.LORA)
        weights = hashlib.sha256(b"".join(value.numpy().tobytes() for value in vlm.projector.state_dict().values()))
        (folder / "found.json").write_text(json.dumps({"losses": log.losses, "projector": weights.hexdigest()}))
    except Exception as error:  # as the command line does
        line = user_message(error)
        if line is None:
            raise
        print(f"vlmatch: {line}")
        sys.exit(2)


def trained(folder: Path) -> dict[str, str]:
    """Every loss, and the trained projector."""
    path = folder / "found.json"
    return {key: json.dumps(value) for key, value in json.loads(path.read_text()).items()} if path.exists() else {}
