"""Kill real commands at random moments, run them again, and compare: `python tests/live/faults.py --kills 12`.

For each command a run without a kill comes first: its results are the reference, its time the range of the moments. A
killed command is run again, killed up to twice more, and run to its end; then its results must equal the reference byte
for byte. One line a command says how many kills there were, how many runs ended before theirs, and what was lost. Not
part of CI: it takes minutes. `repro` needs the folder to be a checkout, and starts a process for each stage.
`--places` instead runs one command in places that refuse it or have odd names, and prints its exit code and last line;
the full and the read-only disk are small file systems in memory, which only root can mount.
"""

import argparse
import hashlib
import importlib
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT / "src"), str(ROOT / "study"), str(ROOT / "tests")]
os.environ |= {"OMP_NUM_THREADS": "1", "HF_HUB_OFFLINE": "1", "MLFLOW_DISABLE_TELEMETRY": "true", "COLUMNS": "200"}
os.environ.setdefault("NUMBA_CACHE_DIR", str(ROOT / "cache" / "numba"))

SIGNALS = (signal.SIGKILL, signal.SIGTERM, signal.SIGINT)
SECONDS_TO_END = 30.0  # after SIGTERM or SIGINT; then the process counts as one that does not stop


@dataclass
class Case:
    """A command: what it needs, what it does, and the files that are its results, by name."""

    name: str
    prepare: Callable[[Path], None]
    command: Callable[[Path], None]
    results: Callable[[Path], dict[str, str]]


@dataclass
class Tally:
    """What happened to one command."""

    kills: int = 0
    ended_before: int = 0
    slow_stops: list[str] = field(default_factory=list)
    lost: list[str] = field(default_factory=list)
    left: set[str] = field(default_factory=set)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kills", type=int, default=12, help="of each command")
    parser.add_argument("--cases", default="fetch,collect,sweep,train", help="of fetch, collect, sweep, train, repro")
    parser.add_argument("--seed", type=int, default=0, help="of the moments")
    parser.add_argument("--keep", type=Path, help="a folder that keeps everything; default: a temporary one")
    parser.add_argument("--places", action="store_true", help="full, read-only and odd places instead of kills")
    options = parser.parse_args()
    known = cases()
    load("sweep" if options.places else options.cases)
    if options.places:
        with tempfile.TemporaryDirectory() as temporary:
            in_places(options.keep or Path(temporary))
        return
    with tempfile.TemporaryDirectory() as temporary:
        place = options.keep or Path(temporary)
        tallies = {name: tried(known[name], place / name, options) for name in options.cases.split(",")}
    total = sum(tally.kills for tally in tallies.values())
    print(f"{total} kills, {sum(len(tally.lost) for tally in tallies.values())} results lost or different")
    sys.exit(any(tally.lost for tally in tallies.values()))


def tried(case: Case, place: Path, options: argparse.Namespace) -> Tally:
    """Kill one command so many times, and print what happened."""
    moments, tally = random.Random(f"{options.seed} {case.name}"), Tally()
    reference = place / "reference"
    reference.mkdir(parents=True)
    case.prepare(reference)
    started = time.perf_counter()
    if code := ended(start(case, reference), 3600):
        sys.exit(f"{case.name}: the run without a kill ended with {code}; see {reference}/log")
    seconds, expected = time.perf_counter() - started, case.results(reference)
    print(f"{case.name}: {seconds:.1f} s without a kill, {len(expected)} results", flush=True)
    attempt = 0
    while tally.kills < options.kills:
        attempt += 1
        folder = place / f"attempt{attempt}"
        folder.mkdir()
        case.prepare(folder)
        for _ in range(moments.randint(1, 3)):
            how = SIGNALS[(tally.kills + attempt) % len(SIGNALS)]
            killed(case, folder, moments.uniform(0, 1.1 * seconds), how, tally)
        if code := ended(start(case, folder), 3600):
            tally.lost.append(f"{folder.name}: the run after the kills ended with {code}")
        found = case.results(folder)
        different = sorted(name for name in expected.keys() | found.keys() if expected.get(name) != found.get(name))
        tally.lost += [f"{folder.name}: {name}" for name in different]
        tally.left |= {path.name for path in folder.rglob(".*") if path.is_file() and not path.name.endswith(".lock")}
        if not different and options.keep is None:
            shutil.rmtree(folder)
    before = f"{tally.ended_before} more runs ended before theirs"
    print(f"{case.name}: {tally.kills} kills ({before}), {len(tally.lost)} lost", flush=True)
    for word, found in (("lost", tally.lost), ("slow to stop", tally.slow_stops), ("left behind", sorted(tally.left))):
        for each in found:
            print(f"  {word}: {each}", flush=True)
    return tally


def killed(case: Case, folder: Path, seconds: float, how: signal.Signals, tally: Tally) -> None:
    """Start a command and send it a signal after so many seconds."""
    child = start(case, folder)
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        if os.waitpid(child, os.WNOHANG)[0]:
            tally.ended_before += 1
            return
        time.sleep(0.005)
    os.killpg(child, how)
    sent = time.monotonic()
    if ended(child, SECONDS_TO_END) is None:
        tally.slow_stops.append(f"{folder.name}: {how.name} after {seconds:.1f} s")
        os.killpg(child, signal.SIGKILL)
        ended(child, 60)
    elif time.monotonic() - sent > 5:
        tally.slow_stops.append(f"{folder.name}: {how.name} took {time.monotonic() - sent:.0f} s")
    tally.kills += 1


def start(case: Case, folder: Path) -> int:
    """Run a command in a forked process, which has the slow imports behind it and a process group of its own."""
    child = os.fork()
    if child:
        return child
    os.setpgid(0, 0)
    code = 1
    try:
        signal.signal(signal.SIGINT, signal.default_int_handler)
        log = os.open(folder / "log", os.O_WRONLY | os.O_CREAT | os.O_APPEND)
        os.dup2(log, 1)
        os.dup2(log, 2)
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
        modules += ["pytorch_lightning", "sklearn.decomposition", "transformers", "vlmatch.tracking", "made_vlms"]
    for module in modules:
        importlib.import_module(module)


def cases() -> dict[str, Case]:
    """Every command by name."""
    return {
        "fetch": Case("fetch", package, fetch, lambda folder: digests(folder / "data")),
        "collect": Case("collect", finished_runs, collect, lambda folder: digests(folder / "results")),
        "sweep": Case("sweep", pictures_and_llm, sweep, ranked),
        "train": Case("train", lambda folder: None, train, trained),
        "repro": Case("repro", pipeline, repro, lambda folder: digests(folder / "made")),
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

    stages = [
        made_vlms.stage(steps=30),
        made_vlms.stage(name="tune", trains={"projector": 1e-3, "lora": 1e-2}, steps=20),
    ]
    torch.use_deterministic_algorithms(mode=True)
    vlm, log = made_vlms.run(folder, stages=stages, lora=made_vlms.LORA)
    weights = hashlib.sha256(b"".join(value.numpy().tobytes() for value in vlm.projector.state_dict().values()))
    (folder / "found.json").write_text(json.dumps({"losses": log.losses, "projector": weights.hexdigest()}))


def trained(folder: Path) -> dict[str, str]:
    """Every loss, and the trained projector."""
    path = folder / "found.json"
    return {key: json.dumps(value) for key, value in json.loads(path.read_text()).items()} if path.exists() else {}


def in_places(place: Path) -> None:
    """Rank one pair in each place, and print how that ended."""
    for name, size in (("full from the start", "64k"), ("full while it embeds", "400k"), ("full at the end", "2m")):
        with mounted(place / "full", f"size={size}"):
            report(name, place / "on disk" / size, {}, store=place / "full" / "store", outputs=place / "full" / "out")
    report("before it is read-only", place / "warm", {}, store=place / "warm store")
    subprocess.run(["mount", "--bind", place / "warm store", place / "warm store"], check=True)
    subprocess.run(["mount", "-o", "remount,bind,ro", place / "warm store"], check=True)
    try:
        report("read-only, all is there", place / "warm", {}, store=place / "warm store")
        more = ["encoder=mean_colour"]
        report("read-only, one is missing", place / "warm", {}, *more, store=place / "warm store")
    finally:
        subprocess.run(["umount", place / "warm store"], check=True)
    report("no HOME", place / "homeless", {"HOME": None, "XDG_CACHE_HOME": None})
    report("HOME that is not there", place / "nohome", {"HOME": "/nonexistent"})
    report("LC_ALL=C", place / "locale", {"LC_ALL": "C", "PYTHONUTF8": "0"})
    odd = [
        "with a space",
        "Bücher, 図書",
        'quote\'s "double"',
        "new\nline",
        "[list]",
        "a=b",
        "$HOME",
        "100%",
        "-dash",
        "a" * 200,
    ]
    for name in odd:
        report(repr(name[:30]), place / name, {})


@contextmanager
def mounted(place: Path, options: str) -> Iterator[None]:
    """A file system in memory at this place."""
    place.mkdir(parents=True, exist_ok=True)
    subprocess.run(["mount", "-t", "tmpfs", "-o", options, "tmpfs", place], check=True)
    try:
        yield
    finally:
        subprocess.run(["umount", place], check=True)


def report(name: str, folder: Path, environment: dict[str, str | None], *more: str, **places: Path) -> None:
    """Rank one pair of models below a folder, and print the exit code, the last line and whether a table is there."""
    if not (folder / "pictures").exists():
        folder.mkdir(parents=True)
        pictures_and_llm(folder)

    def command(at: Path) -> None:
        for key, value in environment.items():
            os.environ.pop(key, None)
            if value is not None:
                os.environ[key] = value
        words = ["encoder=pixels16", "llm=qwen2.5-0.5b", "probe=folder", "score=[gw_paired,cka]"]
        rank_in(at, *words, *more, **places)

    (folder / "log").unlink(missing_ok=True)
    code = ended(start(Case(name, pictures_and_llm, command, digests), folder), 900)
    lines = (folder / "log").read_text(errors="replace").strip().splitlines()
    print(f"{name}: exit {code}{'' if code == 0 else ': ' + lines[-1]}", flush=True)


def rank_in(folder: Path, *words: str, **places: Path) -> None:
    """The command line with every path quoted as Hydra wants it."""
    from vlmatch.cli import main as run

    named = {"store": folder / "store", "outputs": folder / "outputs", "tracking.folder": folder / "mlruns"} | places
    named |= {"llm.repository": folder.parent / "llm", "probe.path": folder / "pictures", "data": folder / "data"}
    os.environ["VLMATCH_CACHE"] = str(folder / "cache")
    run([*words, *(f"{key}={quoted(str(value))}" for key, value in named.items())])


def quoted(value: str) -> str:
    """A value between quotes, as Hydra's grammar reads it."""
    return "'" + value.replace("\\", "\\\\").replace("'", "\\'") + "'"


def pipeline(folder: Path) -> None:
    """A DVC pipeline of its own, whose two stages embed by the real command line."""
    pictures_and_llm(folder)
    run = f"{sys.executable} {ROOT}/src/run.py task=embed task.side=encoder probe=folder probe.path=pictures store=made"
    stages = [
        f"  {name}:\n    cmd: {run} encoder={name} task.record=made/{name}.json\n    outs:\n      - made/{name}.json\n"
        for name in ("pixels16", "mean_colour")
    ]
    (folder / "dvc.yaml").write_text("stages:\n" + "".join(stages))
    os.system(f"cd '{folder}' && '{sys.executable}' -m dvc init --no-scm -q")


def repro(folder: Path) -> None:
    code = os.system(f"'{sys.executable}' -m dvc repro")
    sys.exit(os.waitstatus_to_exitcode(code))


if __name__ == "__main__":
    main()
