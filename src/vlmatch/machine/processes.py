"""Which process of a multi-process job this one is, which sweep it belongs to, and which processes still run."""

import os

# Set for every job of a sweep: the MLflow run it is nested under, and the sweep's name.
PARENT = "VLMATCH_PARENT_RUN"
SWEEP = "VLMATCH_SWEEP"


def process_rank() -> int:
    """The rank that torchrun or Lightning gave this process; 0 if there is only one."""
    return int(os.environ.get("RANK") or os.environ.get("LOCAL_RANK") or 0)


def local_rank() -> int:
    """The number that torchrun or Lightning gave this process among those on its machine; 0 if there is only one."""
    return int(os.environ.get("LOCAL_RANK") or 0)


def launched() -> bool:
    """Whether a launcher started this process as one of several; such a process starts no sweep, run or ranking."""
    return "LOCAL_RANK" in os.environ


def is_alive(pid: int) -> bool:
    """Whether a process with this number runs on this machine."""
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:  # another user's
        pass
    return True
