"""VTBenchLab's single benchmarks: the committed figures agree with each other, and the worlds are made of them."""

from statistics import fmean

import pytest
from scipy.stats import spearmanr

from vlmatch_study.evidence.benchmarks import (
    BENCHMARKS,
    LLM,
    MEAN,
    OTHER_LLM,
    OTHER_VLMS,
    TEXT,
    TRUTHS,
    agreement_table,
    fallen,
    world,
)
from vlmatch_study.evidence.worlds import vtbenchlab
from vlmatch_study.rows import read

MISPRINTED = ("I-JEPA", OTHER_LLM)  # study/published/README.md


def test_each_mean_is_that_of_the_eleven_benchmarks():
    cells: dict[tuple[str, str], dict[str, float]] = {}
    for row in read(BENCHMARKS):
        cells.setdefault((row["encoder"], row["llm"]), {})[row["benchmark"]] = float(row["score"])
    assert len(cells) == 2 * 47
    eleven = [name for group in TRUTHS.values() if group != MEAN for name in group]
    for key, found in cells.items():
        assert found.keys() == {*eleven, *MEAN}
        if key != MISPRINTED:
            assert fmean(found[name] for name in eleven) == pytest.approx(found[MEAN[0]], abs=0.011), key


def test_the_means_of_the_first_llm_are_the_truth_of_the_record():
    whole = vtbenchlab()
    truths = dict(zip(whole.names, whole.mean_truth, strict=True))
    found = world(LLM, MEAN)
    assert found.mean_truth == pytest.approx([truths[name] for name in found.names], abs=0.011)
    assert set(found.families) <= set(whole.families)


def test_each_llm_s_world_holds_the_other_one_s_vlms():
    one, other = world(LLM, TEXT), world(OTHER_LLM, TEXT)
    assert (one.values[OTHER_VLMS] == other.mean_truth).all()
    assert (other.values[OTHER_VLMS] == one.mean_truth).all()
    rho = spearmanr(one.mean_truth, other.mean_truth)[0]
    assert f"| text in pictures | {rho:.2f}".replace("0.", ".") in agreement_table()


def test_the_fallen_ones_are_those_whose_mean_is_far_below_that_with_the_other_llm():
    found = world(OTHER_LLM, MEAN)
    assert fallen(found) == [n for n in found.names if n in FALLEN]
    assert fallen(world(LLM, MEAN)) == []


FALLEN = {"siglip2_l16_512", "mc2_h14_378", "mc2_l14_224", "dinov3", "siglip2_b16_384"}
