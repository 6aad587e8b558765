"""Many problems at once, one thread for each, so that single-threaded steps of several problems run side by side."""

from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from threadpoolctl import threadpool_limits

from vlmatch.gromov.solver import GromovWasserstein, gromov_wasserstein
from vlmatch.gromov.space import Space
from vlmatch.gromov.threads import number_of_workers


def gromov_wasserstein_pool(
    problems: Iterable[tuple[Space, Space]], *, workers: int | None = None, **options: Any
) -> list[GromovWasserstein]:
    """Solve every pair of spaces by `gromov_wasserstein` with `options`; results are in the order of the pairs.

    A Space that occurs in several problems is checked once, and what is derived from it is shared. workers: the number
    of problems at a time, each on one thread (None: all cores). Meanwhile, BLAS is limited to one thread in the whole
    process. The memory is that of `workers` problems plus the results, whose couplings are sparse. The results equal
    those of single calls, for l2 up to the last bits of BLAS's products. Raises what the first failing problem raises.
    """

    def solve(pair: tuple[Space, Space]) -> GromovWasserstein:
        return gromov_wasserstein(*pair, workers=1, **options)

    with (
        threadpool_limits(1, user_api="blas"),
        ThreadPoolExecutor(number_of_workers(workers)) as pool,
    ):
        return list(pool.map(solve, problems))
