"""Kill `dvc repro` inside its stages, run it again, and compare: `python tests/live/pipeline.py FOLDER`.

FOLDER: a clone of this repository whose `dvc repro` has ended with 0, so that only what this script removes is computed
again. For each stage below, what it makes is removed, `dvc repro rank report` is started, a signal is sent once the
stage has worked for a while, and the same command is run to its end. All files then have to equal those of before.
"""

import argparse
import hashlib
import json
import os
import random
import re
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import yaml

COMMAND = ("-m", "dvc", "repro", "rank", "report")
EMBED, ENCODER = "embed_controls@pixels16", "pixels16"
TRIALS = [
    (EMBED, signal.SIGKILL, "all"),
    ("rank", signal.SIGTERM, "all"),
    ("report", signal.SIGKILL, "all"),
    ("report", signal.SIGTERM, "all"),
    ("rank", signal.SIGKILL, "dvc"),
    (EMBED, signal.SIGTERM, "all"),
    ("rank", signal.SIGKILL, "all"),
    (EMBED, signal.SIGKILL, "dvc"),
]
"""Stage, signal, and who gets it: DVC alone, or its stage too, as when a terminal or a cluster ends a job."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--trials", type=int, default=len(TRIALS))
    parser.add_argument("--seed", type=int, default=0, help="of the moments")
    options = parser.parse_args()
    os.chdir(options.folder)
    moments, expected, lost = random.Random(options.seed), digests(), 0
    for stage, how, who in TRIALS[: options.trials]:
        forget(stage)
        seconds = moments.uniform(0.3, 2.5)
        hit, code = killed(stage, how, who, seconds)
        again = started().wait()
        found = digests()
        different = sorted(name for name in expected.keys() | found.keys() if expected.get(name) != found.get(name))
        lost += bool(again or different)
        when = f"after {seconds:.1f} s of its processor time" if hit else "missed: it had ended"
        print(f"{stage}: {how.name} to {who}, {when}; exit {code}, then {again}; different: {different}", flush=True)
    sys.exit(bool(lost))


def digests() -> dict[str, str]:
    """SHA-256 of every stored array and score, and of all that the pipeline's stages leave."""
    places = ("cache/embeddings/**/*.safetensors", "cache/scores/**/*.json", "outputs/evidence/**/*", "dvc.lock")
    files = (path for place in places for path in Path().glob(place) if path.is_file())
    return {str(path): hashlib.sha256(content(path)).hexdigest() for path in files}


def content(path: Path) -> bytes:
    """The bytes of a file; of stored scores, their values, without the seconds that GW took."""
    if path.parts[:2] != ("cache", "scores"):
        return path.read_bytes()
    scores = json.loads(path.read_text())["scores"]
    for score in scores.values():
        score["details"].pop("seconds", None)
    return json.dumps(scores, sort_keys=True).encode()


def forget(stage: str) -> None:
    """Remove what a stage and those behind it have made, also from the cache that DVC would take it from again."""
    places = [Path("outputs/evidence/embedded/report")]
    if stage != "report":
        places += [Path("outputs/evidence/embedded/ranking"), *Path("cache/scores").glob(f"*/{ENCODER}.*.json")]
    if stage == EMBED:
        places += [*Path("cache/embeddings").glob(f"*/{ENCODER}/paper"), Path(f"outputs/evidence/pool/{ENCODER}.json")]
    lock = yaml.safe_load(Path("dvc.lock").read_text())
    kept = {out["path"]: out["md5"] for stage in lock["stages"].values() for out in stage["outs"]}
    places += [
        Path(".dvc/cache/files/md5", kept[str(each)][:2], kept[str(each)][2:]) for each in places if str(each) in kept
    ]
    for place in [*places, Path(".dvc/cache/runs")]:
        shutil.rmtree(place) if place.is_dir() else place.unlink(missing_ok=True)


def started() -> "subprocess.Popen[bytes]":
    """Start the command in a process group of its own; what it prints goes to `log`."""
    with Path("log").open("wb") as log:
        return subprocess.Popen([sys.executable, *COMMAND], stdout=log, stderr=log, start_new_session=True)


def killed(stage: str, how: signal.Signals, who: str, seconds: float) -> tuple[bool, int]:
    """Send a signal once a stage has used so much processor time; whether it still ran, and DVC's exit code."""
    dvc = started()
    while dvc.poll() is None:
        begun = re.findall(r"Running stage '([^']+)'", Path("log").read_text(errors="replace"))
        if begun and begun[-1] == stage and below(dvc.pid) >= seconds:
            (os.killpg if who == "all" else os.kill)(dvc.pid, how)
            return True, dvc.wait()
        time.sleep(0.05)
    return False, dvc.returncode


def below(process: int) -> float:
    """Seconds of processor time that the children of a process, and theirs, have used."""
    found = 0.0
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            fields = stat.read_text().rpartition(")")[2].split()
        except OSError:  # it has ended
            continue
        if int(fields[1]) == process:
            ticks = int(fields[11]) + int(fields[12])
            found += ticks / os.sysconf("SC_CLK_TCK") + below(int(stat.parent.name))
    return found


if __name__ == "__main__":
    main()
