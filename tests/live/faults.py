"""Kill real commands at random moments, run them again, and compare: `python tests/live/faults.py --kills 12`.

For each command a run without a kill comes first: its results are the reference, its time the range of the moments. A
killed command is run again, killed up to twice more, and run to its end; then its results must equal the reference byte
for byte. One line a command says how many kills there were, how many runs ended before theirs, and what was lost. Not
part of CI: it takes minutes. `--filling` instead runs each command on a disk that fills up while it writes, `--places`
one command in places that refuse it or have odd names (`places.py`). `pipeline.py` kills `dvc repro`.
"""

import argparse
import os
import random
import shutil
import signal
import sys
import tempfile
import time
from dataclasses import dataclass, field
from pathlib import Path

from commands import Case, cases, ended, load, start
from places import filling, in_places

SIGNALS = (signal.SIGKILL, signal.SIGTERM, signal.SIGINT)
SECONDS_TO_END = 30.0  # after SIGTERM or SIGINT; then the process counts as one that does not stop


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
    parser.add_argument("--cases", default="fetch,collect,sweep,train", help="of fetch, collect, sweep, train")
    parser.add_argument("--seed", type=int, default=0, help="of the moments")
    parser.add_argument("--keep", type=Path, help="a folder that keeps everything; default: a temporary one")
    parser.add_argument("--filling", action="store_true", help="disks that fill up instead of kills (root)")
    parser.add_argument("--places", action="store_true", help="full, read-only and odd places instead (root)")
    options = parser.parse_args()
    known = cases()
    load("sweep" if options.places else options.cases)
    with tempfile.TemporaryDirectory() as temporary:
        place = options.keep or Path(temporary)
        if options.places:
            in_places(place)
            return
        if options.filling:
            ended_well = [filling(known[name], place) for name in options.cases.split(",")]
            sys.exit(not all(ended_well))
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


if __name__ == "__main__":
    main()
