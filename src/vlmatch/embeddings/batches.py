"""Batches of a probe set, decoded, preprocessed and collated by threads while the model works on earlier ones."""

from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any

import torch
from threadpoolctl import threadpool_limits

from vlmatch.embeddings.store import Shards

SHORT = 64  # characters: for shorter captions, padding costs almost no time
AHEAD = 2  # how many batches are prepared ahead of the one in use; this bounds the memory that they take

Batch = tuple[list[int], Any]


def batches_of(
    shards: Shards, todo: Sequence[int], batch_size: int, length: Callable[[int], int] = lambda row: 0
) -> list[list[int]]:
    """Batches of row numbers that never cross a shard, so that a resumed run forms the same batches as a whole run.

    length: gives the length of a row's item. A batch ends before an item that is more than twice as long as its first
    one; otherwise all its items would be padded to that length.
    """
    return [batch for shard in todo for batch in _batches(shards.rows(shard), batch_size, length)]


def _batches(rows: Iterable[int], batch_size: int, length: Callable[[int], int]) -> Iterator[list[int]]:
    batch: list[int] = []
    for row in rows:
        if batch and (len(batch) == batch_size or length(row) > 2 * max(length(batch[0]), SHORT)):
            yield batch
            batch = []
        batch.append(row)
    if batch:
        yield batch


class PreparedBatches:
    """Iterates over (row numbers, collated inputs), in order.

    prepare: gives the model's input for a row; `threads` threads call it, or with 0 the thread that iterates.
    collate: makes a batch of inputs. pin: whether tensors go to page-locked memory, which a GPU reads faster.
    """

    def __init__(
        self,
        rows: Sequence[list[int]],
        prepare: Callable[[int], Any],
        collate: Callable[[list[Any]], Any],
        *,
        threads: int,
        pin: bool = False,
    ) -> None:
        self.rows = rows
        self.prepare = prepare
        self.collate = collate
        self.threads = threads
        self.pin = pin

    def __len__(self) -> int:
        return len(self.rows)

    def __iter__(self) -> Iterator[Batch]:
        if not self.threads:
            for rows in self.rows:
                yield rows, self.collate([self.prepare(row) for row in rows])
            return
        preparing = ThreadPoolExecutor(self.threads, "prepare", initializer=_compute_alone)
        collating = ThreadPoolExecutor(1, "collate", initializer=_compute_alone)
        waiting: deque[tuple[list[int], Future[Any]]] = deque()
        try:
            for rows in self.rows:
                prepared = [preparing.submit(self.prepare, row) for row in rows]
                waiting.append((rows, collating.submit(self._collated, prepared)))
                if len(waiting) > AHEAD:
                    yield _next(waiting)
            while waiting:
                yield _next(waiting)
        finally:  # also when the loop ends early: nothing more is prepared
            preparing.shutdown(cancel_futures=True)
            collating.shutdown(cancel_futures=True)

    def _collated(self, prepared: list[Future[Any]]) -> Any:
        batch = self.collate([item.result() for item in prepared])
        return batch.pin_memory() if self.pin and isinstance(batch, torch.Tensor) else batch


def _next(waiting: deque[tuple[list[int], Future[Any]]]) -> Batch:
    rows, batch = waiting.popleft()
    return rows, batch.result()


def _compute_alone() -> None:
    """Limit this thread's tensor operations to one core; otherwise OpenMP gives each thread a team of all cores."""
    torch.get_num_threads()  # torch sets the number at its first use in a thread, which would undo the next line
    threadpool_limits(1, user_api="openmp")
