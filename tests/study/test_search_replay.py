"""Replayed searches: the same races as live ones, and costs and regrets that are known beforehand."""

import numpy as np
import pytest
from scipy.cluster.hierarchy import fcluster, linkage
from scipy.spatial.distance import squareform

from vlmatch.errors import VlmatchError
from vlmatch.evidence import replay
from vlmatch.evidence.rules import single
from vlmatch.evidence.worlds import World
from vlmatch.search.halving import Ladder, Part, Race
from vlmatch_study.search.replay import (
    Courses,
    at_random,
    by_levels,
    by_rule,
    clusters,
    divided,
    halved,
    halving,
    medoids_of,
    replayed,
    searching,
    whole,
)

LADDER = Ladder((0.125, 0.25, 0.5, 1.0), 0.5, continues=True)
RULE = single("known", "known")


def raced(values: np.ndarray, ladder: Ladder, budget: float = 99.0) -> tuple[int, float]:
    """The winner and the cost of a live race, in which encoder i has values[i] at the rungs."""
    race, parts = Race(tuple(map(str, range(len(values)))), ladder), []
    while step := race.next_step(parts, lambda further: sum(part.cost for part in parts) + further <= budget):
        parts.append(Part(step.encoder, step.rung, 1, float(values[int(step.encoder), step.rung]), step.cost, 1.0))
    return int(race.standing(parts)[1][0]), sum(part.cost for part in parts)


def test_a_replayed_race_is_that_of_a_live_one(random: np.random.Generator) -> None:
    for size in (1, 2, 5, 8, 13):
        values = random.integers(0, 6, (20, size, 4)).astype(float)  # with ties
        picks, costs = halved(values, np.ones((20, size), dtype=bool), LADDER, 0.5)
        for each, pick, cost in zip(values, picks, costs, strict=True):
            assert (pick, cost) == raced(each, LADDER)


def test_a_plan_as_large_as_the_budget_is_raced_as_a_live_search_would(random: np.random.Generator) -> None:
    for budget in (1.0, 2.5, 4.0, 6.5, 9.0):
        ladder, values = Ladder(LADDER.rungs, None, continues=True), random.integers(0, 6, (20, 9, 4)).astype(float)
        race = Race(tuple(map(str, range(9))), ladder)
        levels = race.plan(lambda cost, most=budget: cost <= most)
        winners = by_levels(values[:, : levels[0].arms], levels)
        for each, winner in zip(values, winners, strict=True):
            live, cost = raced(each, ladder, budget)
            assert live == winner
            assert cost == sum(level.cost for level in levels) <= budget


def test_only_those_that_are_started_race(random: np.random.Generator) -> None:
    values, started = random.random((30, 9, 4)), random.random((30, 9)) < 0.5
    picks, costs = halved(values, started, LADDER, 0.5)
    for each, here, pick, cost in zip(values, started, picks, costs, strict=True):
        places = np.flatnonzero(here)
        if not len(places):
            assert cost == 0
            continue
        winner, paid = raced(each[places], LADDER)
        assert (pick, cost) == (places[winner], paid)


def similarities(random: np.random.Generator, n: int) -> np.ndarray:
    table = random.random((n, n))
    table = (table + table.T) / 2
    np.fill_diagonal(table, 1.0)
    return table


def test_clusters_are_those_of_average_linkage(random: np.random.Generator) -> None:
    for count in range(1, 8):
        table = similarities(random, 7)
        tree = linkage(squareform(1 - table, checks=False), "average")
        wanted, found = fcluster(tree, count, "maxclust"), divided(table, count)
        assert ((found[:, None] == found) == (wanted[:, None] == wanted)).all()


def test_a_medoid_is_most_similar_to_its_cluster() -> None:
    table = np.array([[1.0, 0.9, 0.8, 0.1], [0.9, 1.0, 0.2, 0.1], [0.8, 0.2, 1.0, 0.1], [0.1, 0.1, 0.1, 1.0]])
    found = medoids_of(table, np.array([[0, 1, 2, 3], [3, 2, 1, 0]]), np.array([[5, 5, 5, 3], [3, 5, 5, 5]]))
    assert found.tolist() == [[True, False, False, True], [True, False, False, True]]


@pytest.fixture
def courses(random: np.random.Generator) -> Courses:
    """Twenty candidates whose truth a score knows, and whose curves tell their truth but for noise that shrinks."""
    quality = random.random(20)
    truth = quality[:, None] + random.normal(0, 0.02, (20, 2))
    earlier = quality[:, None, None] + random.normal(0, 1, (20, 2, 3)) * [0.2, 0.1, 0.05]
    names = [f"e{number}" for number in range(20)]
    world = World.of("made", names, [f"f{number // 2}" for number in range(20)], truth, {"known": quality})
    return Courses.of(world, earlier, similarities(random, 20))


def test_costs_and_regrets_are_those_that_are_known_beforehand(
    courses: Courses, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(replay, "RESAMPLES", 20)
    rule = by_rule(RULE)
    generous = Ladder(LADDER.rungs, None, continues=True)
    ways = [
        ("grid", 8, whole(at_random, 8)),
        ("random", 2, whole(at_random, 2)),
        ("rule", 2, whole(rule, 2)),
        ("halving", 8, halving(at_random, 8, LADDER, 0.5)),
        ("rule halved", 4, halving(rule, 4, LADDER, 0.5)),
        ("one cluster", 1, clusters(courses, 1, LADDER, 0.5)),
        ("search", 3, searching(RULE, 0.5, generous, 3)),
        ("all clusters", 8, clusters(courses, 8, LADDER, 0.5)),
    ]
    found = {each.way: each for each in replayed(courses, ways, "random", 8)}
    assert found["grid"].regret == (0, 0, 0)
    assert [found[name].cost for name in ("grid", "random", "halving", "rule halved")] == [8, 2, 2.5, 1.5]
    assert found["one cluster"].cost == 1 + LADDER.whole(7, 0.5)  # the medoid, then all others
    assert found["all clusters"].cost == LADDER.whole(8, 0.5)
    assert found["search"].cost <= 3
    assert found["search"].fraction.value < found["halving"].fraction.value
    assert found["rule"].fraction.value < found["halving"].fraction.value < found["random"].fraction.value < 1
    assert found["random"].fraction.low < found["random"].fraction.value < found["random"].fraction.high


def test_curves_of_another_shape_are_refused(courses: Courses) -> None:
    world = courses.world
    for wrong in (np.zeros((20, 1, 3)), np.zeros((20, 2)), np.full((20, 2, 3), np.nan)):
        with pytest.raises(VlmatchError, match="learning curves have shape"):
            Courses.of(world, wrong)
    with pytest.raises(VlmatchError, match="similarities have shape"):
        Courses.of(world, np.zeros((20, 2, 3)), np.eye(3))
    with pytest.raises(VlmatchError, match="has no similarities"):
        clusters(Courses.of(world, np.zeros((20, 2, 3))), 2, LADDER, 0.5)
