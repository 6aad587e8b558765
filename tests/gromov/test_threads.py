"""Rows shared out over threads: each once, in whole groups."""

import pytest

from vlmatch.gromov.threads import ROWS_AT_ONCE, available_cores, over_rows


@pytest.mark.parametrize("workers", [None, 0, 1, 2, 3, 100])
@pytest.mark.parametrize("n_rows", [1, 3, 4, 5, 8, 61])
def test_every_row_is_computed_once_in_whole_groups(n_rows: int, workers: int | None) -> None:
    shares: list[tuple[int, int]] = []
    over_rows(lambda first, last: shares.append((first, last)), n_rows, workers)
    assert sorted(row for first, last in shares for row in range(first, last)) == list(range(n_rows))
    assert all(first % ROWS_AT_ONCE == 0 for first, last in shares if first < last)
    assert len(shares) <= max(1, available_cores() if workers is None else workers)


def test_an_error_in_a_thread_reaches_the_caller() -> None:
    def fails(first: int, last: int) -> None:
        raise ValueError(first)

    with pytest.raises(ValueError, match="0"):
        over_rows(fails, 40, 2)
