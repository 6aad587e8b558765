"""A pool: findings on its models and its probe, warnings first, each remedy said once, with options that exist."""

import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from made_rows import header
from vlmatch import paths
from vlmatch.embeddings.header import Header
from vlmatch.embeddings.store import Embeddings
from vlmatch.geometry import RESOLUTION, Geometry
from vlmatch.health.findings import TITLES, Finding, grouped
from vlmatch.health.pool import angles_for_health, health_of_pool, resolution_of
from vlmatch.llms.language_model import POOLINGS
from vlmatch.probes.pairs import Pair, ProbeCounts, ProbeSet

N = 100


def probe() -> ProbeSet:
    pairs = tuple(Pair(f"id{i}", Path(f"{i}.png"), f"Thing {i}.", f"sha{i}") for i in range(N))
    return ProbeSet("p", pairs, ProbeCounts(N, N, N, N))


def embeddings(kind: str, name: str, d: int, shift: float = 0, **preprocessing: str) -> Embeddings:
    array = np.random.default_rng(len(name)).normal(size=(N, d)) + shift
    return Embeddings(array.astype(np.float32), replace(header(kind, name), preprocessing=preprocessing))


def test_all_findings_of_a_pool_come_warnings_first() -> None:
    found = health_of_pool(
        [
            embeddings("encoder", "wide", 120),
            embeddings("encoder", "shifted", 8, shift=9),
            embeddings("llm", "first", 20, pooling="last", template="{caption}"),
            embeddings("llm", "other", 20, pooling="mean", template="{caption}"),
        ],
        probe(),
    )
    assert [(each.check, each.side, each.model) for each in found] == [
        ("shared_direction", "images", "shifted"),
        ("same_ending", "captions", "first"),
        ("more_features_than_pairs", "images", "wide"),
    ]


def test_without_the_probe_only_embeddings_are_looked_at() -> None:
    assert health_of_pool([embeddings("llm", "first", 20, pooling="last")]) == ()


def test_embeddings_from_elsewhere_have_no_known_pooling() -> None:
    assert health_of_pool([embeddings("llm", "precomputed", 20)], probe()) == ()


@pytest.mark.parametrize(
    ("precision", "dtype", "expected"),
    [
        ("32-true", None, RESOLUTION),
        ("32-true", "float32", RESOLUTION),
        ("bf16-mixed", None, 2.0**-8),
        ("32-true", "bfloat16", 2.0**-8),
        ("16-mixed", "float32", 2.0**-11),
        ("16-mixed", "bfloat16", 2.0**-8),
    ],
)
def test_the_coarser_of_precision_and_dtype_decides_what_is_resolved(
    precision: str, dtype: str | None, expected: float
) -> None:
    about: Header = header("llm", "x")
    about = replace(
        about, spec=replace(about.spec, precision=precision), preprocessing={} if dtype is None else {"dtype": dtype}
    )
    assert resolution_of(about) == expected


@settings(max_examples=25)
@given(n=st.integers(2, 30), d=st.integers(2, 60), shift=st.floats(0, 100), seed=st.integers(0, 10**6))
def test_the_quick_angles_are_those_of_the_scores_within_the_resolution(
    n: int, d: int, shift: float, seed: int
) -> None:
    rows = np.random.default_rng(seed).normal(size=(n, d)) + shift
    rows[-1] = 2 * rows[0]
    quick, exact = angles_for_health(rows), Geometry.angular(rows)
    np.testing.assert_allclose(quick.distances, exact.distances, atol=RESOLUTION / 2, rtol=0)
    assert (quick.distances.diagonal() == 0).all()


def test_a_remedy_is_said_once_for_all_models() -> None:
    found = health_of_pool([embeddings("encoder", name, 120) for name in ("one", "three")])
    (group,) = grouped(found)
    assert (group.title, group.side, group.models) == ("More features than pairs", "images", ("one", "three"))
    assert str(group) == f"More features than pairs: images by one, three. {group.remedy}."
    (alone,) = grouped(found[:1])
    assert "120 features for 100 pairs" in str(alone)
    warning = replace(found[0], warning=True)
    assert [each.warning for each in grouped([warning, *found])] == [True, False]


def every_text() -> str:
    folder = paths.root() / "src" / "vlmatch" / "health"
    return "".join((folder / name).read_text() for name in ("geometries.py", "pairs.py"))


def test_every_check_has_a_head_that_the_documentation_explains() -> None:
    page = (paths.root() / "docs" / "health.md").read_text()
    assert set(TITLES) == set(re.findall(r'Finding\(\s*"(\w+)"', every_text()))
    for title in TITLES.values():
        assert f"## {title}\n" in page


def test_poolings_that_remedies_name_exist() -> None:
    named = re.findall(r"llm\.pooling=(\w+)", every_text() + (paths.root() / "docs" / "health.md").read_text())
    assert named
    assert set(named) <= set(POOLINGS)


def test_a_finding_is_one_line() -> None:
    finding = Finding(
        "copies",
        "images",
        model="model",
        figure=0.1,
        measured="3 of 30 have a copy",
        warning=True,
        remedy="Look at them",
    )
    assert str(finding) == "images by model: 3 of 30 have a copy. Look at them."
