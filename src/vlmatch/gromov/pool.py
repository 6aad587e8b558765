"""Many problems at once: a thread a problem, so that the steps of one that use a single core run beside another's."""

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
    """`gromov_wasserstein` on every pair of spaces, in their order, with `options` for each.

    A Space that stands in several problems is checked once and shared, with what is derived from it. workers: how
    many problems at a time, each on one thread (None: all cores); BLAS is held to one thread meanwhile, in the whole
    process. Memory is that of `workers` problems, and of the results, whose couplings are sparse. The results are
    those of one call after another, for l2 up to the last bits of BLAS's products. Raises what the first problem
    to fail raises.
    """

    def solve(pair: tuple[Space, Space]) -> GromovWasserstein:
        return gromov_wasserstein(*pair, workers=1, **options)

    with (
        threadpool_limits(1, user_api="blas"),
        ThreadPoolExecutor(number_of_workers(workers)) as pool,
    ):
        return list(pool.map(solve, problems))
