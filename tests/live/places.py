"""Places that refuse a command, fill up while it writes, or have odd names; for `faults.py --places`, as root."""

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from commands import Case, digests, ended, pictures_and_llm, start


def in_places(place: Path) -> None:
    """Rank one pair in each place, and print how that ended."""
    with mounted(place / "full", "size=64k"):
        report("full from the start", place / "on disk", {}, store=place / "full" / "s", outputs=place / "full" / "o")
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


def filling(case: Case, place: Path) -> bool:
    """Run a command on a disk that fills up while it writes, make room step by step, and say how that ended.

    Every run has to end with 2 and one line, or with 0; the results then have to equal those of a disk with room.
    """
    reference, disk = place / case.name / "room", place / case.name / "filling"
    reference.mkdir(parents=True)
    case.prepare(reference)
    if code := ended(start(case, reference), 3600):
        sys.exit(f"{case.name}: the run with room ended with {code}; see {reference}/log")
    expected, log, lines = case.results(reference), disk.parent / "log", list[str]()
    with mounted(disk, "size=100m"):
        case.prepare(disk)
        held = used(disk)
        whole = used(reference) - held
        for percent in range(10, 210, 20):
            resized(disk, held + percent * whole // 100)
            code = ended(start(case, disk, log), 3600)
            if code == 0:
                break
            lines.append(f"at {percent}%: exit {code}: {log.read_text().strip().splitlines()[-1]}")
        same = code == 0 and case.results(disk) == expected
    print(
        f"{case.name}: {len(lines)} runs on a disk that was too small, then {'the same' if same else 'OTHER'} results"
    )
    print("\n".join(f"  {line}" for line in lines), flush=True)
    return same and all(": exit 2: vlmatch: " in line for line in lines)


def used(place: Path) -> int:
    """Bytes of all files below a folder, in whole pages, as a file system in memory counts them."""
    return sum(-(-path.stat().st_size // 4096) * 4096 for path in place.rglob("*"))


def resized(disk: Path, size: int) -> None:
    """Give a file system in memory another size, in bytes."""
    subprocess.run(["mount", "-o", f"remount,size={size}", disk], check=True)


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
