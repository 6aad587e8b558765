"""Many problems at once against one call after another."""

from collections.abc import Iterator

import pytest
from threadpoolctl import threadpool_info, threadpool_limits

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


def threads_of_blas() -> list[int]:
    return [one["num_threads"] for one in threadpool_info() if one["user_api"] == "blas"]


def test_blas_has_one_thread_meanwhile_and_its_own_number_back_afterwards() -> None:
    space, meanwhile, before = Space.of(cloud(9, 2, 0)), [], threads_of_blas()

    def problem() -> Iterator[tuple[Space, Space]]:
        meanwhile.extend(threads_of_blas())
        yield space, space

    gromov_wasserstein_pool(problem(), workers=2)
    assert set(meanwhile) == {1}
    assert threads_of_blas() == before
