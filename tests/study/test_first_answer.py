"""What `make run` picks is held against the study's trainings: a regression test, and no evidence for the rule."""

import numpy as np

from vlmatch.configs import pool
from vlmatch.evidence.record import record
from vlmatch_study.evidence.worlds import embedded


def test_the_pick_of_the_first_run_is_within_two_standard_errors_of_the_best() -> None:
    world, rule = embedded(), record().world("pooled").rule
    members = np.flatnonzero(np.isin(world.names, pool("first_run")))
    assert len(members) == 7, "the encoders of the first run without its controls"
    values = rule.values({name: world.values[name][members] for name in rule.needs})
    truths = world.mean_truth[members]
    assert truths.max() - truths[values.argmax()] <= 2 * world.standard_error


def test_a_pick_by_gw_would_not_be() -> None:
    world = embedded()
    members = np.flatnonzero(np.isin(world.names, pool("first_run")))
    truths = world.mean_truth[members]
    assert truths.max() - truths[world.values["gw"][members].argmin()] > 2 * world.standard_error
