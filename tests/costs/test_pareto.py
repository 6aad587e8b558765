"""The Pareto front against its definition, and against a sweep over sorted prices."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vlmatch.costs.candidate import CandidateCost
from vlmatch.costs.pareto import pareto_front, priced
from vlmatch.errors import VlmatchError

FIGURES = st.integers(0, 5) | st.floats(0, 5)  # whole numbers among them, so that points tie


def named(points: list[tuple[float, ...]]) -> dict[str, tuple[float, ...]]:
    return {str(place): point for place, point in enumerate(points)}


def dominates(one: tuple[float, ...], other: tuple[float, ...]) -> bool:
    """Word for word the definition."""
    as_good = one[0] >= other[0] and all(a <= b for a, b in zip(one[1:], other[1:], strict=True))
    return as_good and one != other


@given(st.integers(1, 3).flatmap(lambda prices: st.lists(st.tuples(*[FIGURES] * (1 + prices)), max_size=12)))
def test_the_front_is_what_no_other_point_dominates(points: list[tuple[float, ...]]) -> None:
    places = named(points)
    wanted = [name for name, one in places.items() if not any(dominates(other, one) for other in places.values())]
    assert list(pareto_front(places)) == wanted


@given(st.lists(st.tuples(FIGURES, FIGURES), min_size=1, max_size=12))
def test_with_one_price_the_front_is_found_by_going_up_the_prices(points: list[tuple[float, float]]) -> None:
    best, wanted = float("-inf"), set()
    for price in sorted({price for _, price in points}):
        top = max(value for value, other in points if other == price)
        if top > best:
            best = top
            wanted |= {str(place) for place, point in enumerate(points) if point == (top, price)}
    assert set(pareto_front(named(points))) == wanted


def test_a_candidate_without_the_price_is_left_out() -> None:
    costs = {
        "small": CandidateCost("small", parameters=1, gflops=1.0, tokens=9),
        "large": CandidateCost("large", parameters=2, gflops=2.0, tokens=4),
        "dear": CandidateCost("dear", parameters=3, gflops=3.0, tokens=9),
        "own": CandidateCost("own", parameters=1),
    }
    values = {"small": 0.5, "large": 0.5, "dear": 0.4, "own": 0.9}
    assert pareto_front(priced(values, costs, ["flops"])) == ("small",)
    assert pareto_front(priced(values, costs, ["flops", "tokens"])) == ("small", "large")
    assert pareto_front(priced(values, costs, ["params"])) == ("own",)
    assert pareto_front(priced({}, costs, ["flops"])) == ()


def test_an_unknown_price_and_uneven_points_are_told() -> None:
    with pytest.raises(VlmatchError, match=r"price='money'.*params, flops, tokens"):
        priced({}, {}, ["money"])
    with pytest.raises(VlmatchError, match="equally many prices"):
        pareto_front({"a": (1, 2), "b": (1,)})
