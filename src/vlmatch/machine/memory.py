"""Memory: what scoring takes, how running out of it is recognised, and what a user can do about it."""

import os
import re
from collections.abc import Iterable
from pathlib import Path

from vlmatch.errors import VlmatchError

EMBEDDING_ADVICE = (
    "choose a smaller model, a shorter number format (trainer.precision=bf16-mixed) or a device with more memory"
)
CGROUP = Path("/sys/fs/cgroup")
"""Where Linux states the limits of a container: version 2 right here, version 1 in the folder `memory`."""
_TEXTS = ("out of memory", "can't allocate memory", "not enough memory")  # PyTorch's, on GPUs and on CPUs
MANY_PAIRS = 2000
"""From this number of pairs on, scoring says in advance what it will take, and shows the progress of slow scores."""
_ANGLES = 34  # bytes for each two pairs: the angles of images, captions and noise, and what computing them takes
_MOST = 190  # at most this many for all scores together: they share much of what they need
_SUBSAMPLED = 9_000_000  # added to the square of the number of pairs: for the subsamples and what is kept of them


def scoring_bytes(n_pairs: int, squares: Iterable[int]) -> float:
    """About how many bytes scoring this many pairs takes at its peak; measured at 1,000 and 1,500 pairs.

    squares: `Score.squares` of each score.
    """
    return min(_MOST, _ANGLES + sum(squares)) * float(n_pairs**2 + _SUBSAMPLED)


def require_scoring_memory(n_pairs: int, squares: Iterable[int]) -> str:
    """The line that says how much memory scoring this many pairs will take, to print before it begins.

    Raises VlmatchError if this machine has less memory left.
    """
    needed, left = scoring_bytes(n_pairs, squares), available_memory()
    line = f"{n_pairs:,} pairs take about {needed / 2**30:.1f} GiB of memory for these scores"
    if needed > left:
        raise VlmatchError(
            f"{line}, and this machine has {left / 2**30:.1f} GiB left; give probe.sample=1000, which takes 2 GiB, or "
            "fewer scores, such as score=[mutual_nn]"
        )
    return f"{line}, and GW's time grows with their cube; probe.sample=1000 takes 2 GiB"


def available_memory(meminfo: Path = Path("/proc/meminfo"), cgroup: Path = CGROUP) -> int:
    """Bytes that programs may still take before this machine, or the limit of its container, kills one.

    meminfo: the file in which Linux states what the machine has left. cgroup: the folder of the container's memory.
    """
    of_container = physical_memory(cgroup) - _held(cgroup)
    stated = re.search(r"MemAvailable: *(\d+) kB", _text(meminfo))
    return max(0, min(of_container, int(stated[1]) * 1024) if stated else of_container)


def physical_memory(cgroup: Path = CGROUP) -> int:
    """Bytes of this machine's memory, or of a container's limit if that is smaller. cgroup: as in available_memory."""
    whole = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    limits = (_text(cgroup / "memory.max").strip(), _text(cgroup / "memory" / "memory.limit_in_bytes").strip())
    return min([whole, *(int(limit) for limit in limits if limit.isdigit())])  # "max" stands for no limit


def _held(cgroup: Path) -> int:
    """Bytes that a container holds, without the cached files, which Linux drops when programs need the memory."""
    used = _text(cgroup / "memory.current") or _text(cgroup / "memory" / "memory.usage_in_bytes") or "0"
    stat = _text(cgroup / "memory.stat") or _text(cgroup / "memory" / "memory.stat")
    cached = re.findall(r"^total_(?:in)?active_file (\d+)$", stat, re.MULTILINE)  # cgroup v1, with all groups in it
    cached = cached or re.findall(r"^(?:in)?active_file (\d+)$", stat, re.MULTILINE)
    return int(used) - sum(map(int, cached))


def _text(file: Path) -> str:
    return file.read_text() if file.is_file() else ""


def is_out_of_memory(error: BaseException) -> bool:
    """Whether an error says that memory ran out, on a GPU or on this machine.

    PyTorch has a class only for a GPU's error. A CPU's is a plain RuntimeError, which only its text identifies.
    """
    if isinstance(error, MemoryError):
        return True
    return isinstance(error, RuntimeError) and any(text in str(error).lower() for text in _TEXTS)


def training_advice(stage: int) -> str:
    """What makes stage number `stage` of a recipe (counted from 0) take less memory."""
    key = f"recipe.stages.{stage}"
    return (
        f"give a larger {key}.accumulate, which takes the samples of a step in smaller parts, "
        f"{key}.gradient_checkpointing=true, trainer=fsdp on several GPUs, or a narrower encoder"
    )
