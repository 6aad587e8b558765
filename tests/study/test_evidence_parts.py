"""The record's parts that were added later: partial correlations, and the worlds that they and Cambrian-1 make."""

import numpy as np
import pytest
from scipy.stats import pearsonr, rankdata

from vlmatch_study.evidence import cambrian1, parts
from vlmatch_study.evidence.worlds import embedded


def test_a_partial_correlation_is_that_of_what_the_given_score_leaves_of_the_ranks() -> None:
    world = embedded()
    columns = world.values["mutual_nn"], world.mean_truth, world.values["participation_ratio"]
    score, truth, given = map(rankdata, columns)
    design = np.column_stack([np.ones(len(given)), given])
    left = [each - design @ np.linalg.lstsq(design, each)[0] for each in (score, truth)]
    found = parts.partial(world, "mutual_nn", "participation_ratio")
    assert found.value == pytest.approx(pearsonr(*left).statistic, abs=1e-9)
    assert found.low < found.value < found.high


def test_the_parts_leave_out_our_own_encoders_and_those_trained_in_float32() -> None:
    sizes = {name: len(world) for name, world in parts.worlds().items()}
    assert sizes == {"all": 32, "made by others": 19, "bfloat16 alone": 23}


def test_the_worlds_of_cambrian_1_are_its_averages_with_tokens_as_the_rule_counts_them() -> None:
    worlds = {world.name: world for world in cambrian1.worlds()}
    frozen = worlds["0M_frozen"]
    assert frozen.mean_truth[frozen.names.index("OpenAI CLIP ViT-L/14@336")] == 48.37
    assert frozen.values["tokens"].max() == 1024
    assert {name: len(world) for name, world in worlds.items()} == {
        "0M_frozen": 22, "0.5M_frozen": 17, "1.2M_frozen": 17, "1.2M_unfrozen": 13,
    }  # fmt: skip
