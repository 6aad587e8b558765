"""Which process of a multi-process job this one is."""

import os


def rank() -> int:
    """The rank that torchrun or Lightning gave this process; 0 where there is only one."""
    return int(os.environ.get("RANK") or os.environ.get("LOCAL_RANK") or 0)


def launched() -> bool:
    """Whether a launcher started this process as one of several; such a process starts no sweep, run or ranking."""
    return "LOCAL_RANK" in os.environ
