"""Many problems at once against one call after another."""

import numpy as np
import pytest
from threadpoolctl import threadpool_limits

from made_spaces import cloud, weights
from vlmatch.errors import VlmatchError
from vlmatch.gromov import Space, gromov_wasserstein, gromov_wasserstein_pool


def problems() -> list[tuple[Space, Space]]:
    """Spaces of several sizes and weights; two targets, shared by all."""
    targets = [Space.of(cloud(30, 8, 0)), Space.of(cloud(41, 5, 1))]
    sources = [Space.of(cloud(n, 3, n), weights(n, n) if n == 25 else None) for n in (41, 30, 25, 2, 1, 37)]
    return [(source, target) for source in sources for target in targets]


@pytest.mark.parametrize("options", [{}, {"loss": "l2"}, {"start": "best", "local_search": True, "lower_bound": None}])
@pytest.mark.parametrize("workers", [None, 1, 3])
def test_the_answers_are_those_of_single_calls_bit_by_bit_and_in_their_order(
    workers: int | None, options: dict
) -> None:
    pooled = gromov_wasserstein_pool(problems(), workers=workers, **options)
    with threadpool_limits(1, user_api="blas"):  # how BLAS rounds depends on its threads
        single = [gromov_wasserstein(x, y, **options) for x, y in problems()]
    assert len(pooled) == len(single)
    for one, other in zip(pooled, single, strict=True):
        assert one.coupling.shape == other.coupling.shape
        assert (one.energies, one.gap, one.lower_bound) == (other.energies, other.gap, other.lower_bound)
        assert one.tried == other.tried
        assert (one.coupling.dense() == other.coupling.dense()).all()


def test_problems_may_come_one_by_one_and_there_may_be_none() -> None:
    x = Space.of(cloud(9, 2, 0))
    found = gromov_wasserstein_pool((pair for pair in [(x, x)] * 3), workers=2)
    assert [one.energy for one in found] == [0, 0, 0]
    assert gromov_wasserstein_pool([]) == []


def test_an_error_in_one_problem_reaches_the_caller() -> None:
    x = Space.of(cloud(9, 2, 0))
    with pytest.raises(VlmatchError, match="start='identity'"):
        gromov_wasserstein_pool([(x, x), (x, Space.of(cloud(8, 2, 1))), (x, x)], workers=2, start="identity")
    with pytest.raises(VlmatchError, match="loss='kl'"):
        gromov_wasserstein_pool([(x, x)], loss="kl")


def test_blas_has_its_threads_back_afterwards() -> None:
    from threadpoolctl import threadpool_info

    def threads() -> list[int]:
        return [one["num_threads"] for one in threadpool_info() if one["user_api"] == "blas"]

    np.ones((4, 4)) @ np.ones((4, 4))
    before = threads()
    gromov_wasserstein_pool([(Space.of(cloud(9, 2, 0)), Space.of(cloud(9, 3, 1)))], workers=2)
    assert threads() == before
