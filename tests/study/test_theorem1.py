"""Theorem 1 over the study's encoders: the table's figures are scipy's on the committed values."""

import numpy as np
import pytest
from scipy.stats import pearsonr, rankdata, spearmanr

from vlmatch import paths
from vlmatch.geometry import PairedGeometry, upper_triangle
from vlmatch.gromov import gromov_wasserstein, lipschitz_bound
from vlmatch.report.evidence import bare
from vlmatch_study.evidence.theorem1 import bounds, closest
from vlmatch_study.findings.theorem1 import ALL, HIGHER_IS_BETTER, PRETRAINED, given_ratio, goodness, section
from vlmatch_study.findings.trained import trained
from vlmatch_study.rows import read

ROWS = [row for row in read(paths.root() / "study" / "worlds" / "theorem1.csv") if row["llm"] == "smollm2"]


@pytest.fixture(scope="module")
def comparison():
    return trained(paths.root())[0].comparison


def columns(comparison, *names: str, controls: bool) -> list[np.ndarray]:
    """The truth and columns of the table, higher is better, over the encoders with or without controls."""
    kept = comparison.truths if controls else comparison.pretrained
    truth = {each.encoder: each.mean for each in kept}
    rows = [row for row in ROWS if row["encoder"] in truth]
    signs = [1 if name in HIGHER_IS_BETTER else -1 for name in names]
    values = [np.array([sign * float(row[name]) for row in rows]) for name, sign in zip(names, signs, strict=True)]
    return [np.array([truth[row["encoder"]] for row in rows]), *values]


def test_the_table_has_scipy_s_correlations(comparison) -> None:
    lines = [line for line in section(comparison, ROWS).answer.splitlines() if line.startswith("| ")][2:]
    names = ("bound", "measured", "gw", "cka", "participation_ratio", "closest", "bound_of_noise")
    for line, name in zip(lines, names, strict=True):
        _, _, *cells, _ = line.split("|")
        for controls, (with_bound, with_truth) in zip((True, False), (cells[:2], cells[2:]), strict=True):
            truth, bound, values = columns(comparison, "bound", name, controls=controls)
            assert with_bound.strip() == bare(float(spearmanr(bound, values)[0]))
            assert with_truth.split("[")[0].strip() == bare(float(spearmanr(truth, values)[0]))


@pytest.mark.parametrize("controls", [True, False])
def test_the_partial_correlation_is_that_of_the_ranks_residuals(comparison, controls: bool) -> None:
    truth, bound, ratio = (
        rankdata(each) for each in columns(comparison, "bound", "participation_ratio", controls=controls)
    )
    residuals = [each - np.polyval(np.polyfit(ratio, each, 1), ratio) for each in (truth, bound)]
    found = given_ratio(comparison, ROWS, ALL if controls else PRETRAINED)
    assert found == pytest.approx(pearsonr(*residuals)[0], abs=1e-9)


def test_an_infinite_bound_is_the_worst_place() -> None:
    places = goodness(ROWS, "bound")
    assert places["mean_colour"] == min(places.values()) == 1


def test_the_bound_is_the_solver_s_and_the_closest_pictures_are_counted_over_the_median() -> None:
    random = np.random.default_rng(0)
    images, captions = random.normal(size=(40, 6)), random.normal(size=(40, 5))
    pair = PairedGeometry.angular(images, captions)
    coupling = gromov_wasserstein(pair.scaled_image_distances, pair.text.distances).coupling
    wanted = lipschitz_bound(pair.scaled_image_distances, pair.text.distances, coupling, quantile=0.99)
    assert bounds(images, captions) == {"bound": wanted.bound_quantile, "measured": wanted.measured_quantile}
    distances = upper_triangle(pair.image.distances)
    assert closest(images) == pytest.approx(np.percentile(distances, 0.5) / np.median(distances))
