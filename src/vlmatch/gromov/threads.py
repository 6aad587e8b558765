"""Sharing the rows of a result between threads: compiled kernels release the interpreter's lock, so all cores work."""

import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

from vlmatch.errors import VlmatchError

ROWS_AT_ONCE = 4
"""Kernels take rows in groups of this size; shares are whole groups, so threads never change a result."""


def available_cores() -> int:
    """The cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def number_of_workers(workers: int | None) -> int:
    """`workers`, or all cores for None. Raises VlmatchError for fewer than 1."""
    if workers is not None and workers < 1:
        raise VlmatchError(f"workers={workers}, wanted at least 1, or None for all cores")
    return available_cores() if workers is None else workers


def over_rows(kernel: Callable[[int, int], None], n_rows: int, workers: int | None) -> None:
    """Call kernel(first, last) on consecutive parts of `n_rows` rows, one part for each thread; None: all cores."""
    workers = available_cores() if workers is None else workers
    groups = -(-n_rows // ROWS_AT_ONCE)
    if workers <= 1 or groups <= 1:
        kernel(0, n_rows)
        return
    edges = [min(n_rows, ROWS_AT_ONCE * (groups * share // workers)) for share in range(workers + 1)]
    with ThreadPoolExecutor(workers) as pool:
        list(pool.map(kernel, edges[:-1], edges[1:]))
